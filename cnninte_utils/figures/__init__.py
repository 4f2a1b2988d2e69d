"""Every drawing of the series: functions take arrays and axes, draw, and return the axes or figure."""

from .attribution import (
    comparison_table,
    kept_by_layer,
    reasons_found,
    residual_by_steps,
    rule_grid,
    selected_patches,
    signed_map,
    two_shares,
)
from .cnn_inte import (
    ID_COLORS,
    accuracy_by_depth,
    block_diagram,
    factor_clusters,
    hypothesis_grid,
    id_cells,
    instance_table,
    layer_stack,
    score_distributions,
    separability_map,
    separation_bars,
    signed_maps,
    sliding_filter,
    training_diagrams,
    tree_diagram,
)
from .common import (
    CLASS_COLORS,
    HYPOTHESIS_COLOR,
    LABEL_COLOR,
    OPEN_COLOR,
    SEPARATED_COLOR,
    confusion,
    id_matrix,
    image_row,
    learning_curves,
    save,
    taxonomy,
    unit_profiles,
    use_style,
    verdict_bars,
)
from .dissection import (
    CATEGORY_COLORS,
    annotated_images,
    count_map,
    iou_bars,
    unit_page,
    unit_rows,
)
from .evaluation import (
    cascade_curves,
    class_swap,
    every_method,
    heat_map,
    method_intervals,
    picture_rows,
    similarity_matrix,
    two_rankings,
)
from .explorer import Explorer
from .group_norms import (
    PENALTY_COLORS,
    filters_by_group,
    unit_ball,
)
from .layers import (
    difference_by_depth,
    difference_by_epoch,
    embedding_grid,
    embedding_scatter,
    hit_by_depth,
    neighbor_links,
    price_intervals,
)
from .perturbation import (
    curves_by_share,
    pixel_bars,
    share_by_area,
    signal_and_distractor,
    smallest_changes,
)
from .units import (
    image_grid,
    large_blocks,
    mosaic,
    mosaic_row,
    preferred_images,
    signed_matrix,
    similarity_by_layer,
    strongest_images,
    tiles,
)
