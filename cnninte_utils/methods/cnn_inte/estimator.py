"""CNN-INTE: explain a network's predictions through clusters of its hidden neurons (paper A)."""

import warnings

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin, clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from ... import checks
from ...datasets import Split
from .clustering import centers, cluster, nearest
from .explanations import Explanation, Explanations, remaining_counts, separation_depths
from .meta_learners import MetaTree

__all__ = ["CNNINTE", "cluster_factors", "cluster_ids"]


def cluster_factors(
    activations: np.ndarray,
    n_factors: int,
    *,
    clusterer: str = "kmeans",
    metric: str = "euclidean",
    random_state: int = 0,
) -> np.ndarray:
    """Divide the units of a layer into factors: first-level clustering, over the units.

    Parameters
    ----------
    activations : float array of shape (n, units)
    n_factors : int
        At most; HDBSCAN finds its own number.
    clusterer, metric, random_state
        As for :func:`~cnninte_utils.methods.cnn_inte.clustering.cluster`.

    Returns
    -------
    int array of shape (units,)
        The factor of each unit.

    References
    ----------
    Liu, Wang, Matwin 2018, Algorithm 1, first level.
    """
    return cluster(activations.T, n_factors, method=clusterer, metric=metric, random_state=random_state)


def cluster_ids(
    activations: np.ndarray,
    factor_of_unit: np.ndarray,
    n_ids: int,
    *,
    clusterer: str = "kmeans",
    metric: str = "euclidean",
    random_state: int = 0,
) -> np.ndarray:
    """Cluster the instances within each factor: second level; cluster numbers are the IDs.

    Parameters
    ----------
    activations : float array of shape (n, units)
    factor_of_unit : int array of shape (units,)
    n_ids : int
        Clusters in each factor at most; HDBSCAN finds its own number, and noise is the last ID.
    clusterer, metric, random_state
        As for :func:`~cnninte_utils.methods.cnn_inte.clustering.cluster`; factor f gets `random_state` + f.

    Returns
    -------
    int array of shape (n, factors)

    References
    ----------
    Liu, Wang, Matwin 2018, Algorithm 1, second level.
    """
    options = {"method": clusterer, "metric": metric}
    columns = [
        cluster(activations[:, factor_of_unit == f], n_ids, random_state=random_state + f, **options)
        for f in range(factor_of_unit.max() + 1)
    ]
    return np.stack(columns, axis=1)


def _pixels(images) -> np.ndarray:
    """Return images as float32 in [0, 1], each as one row."""
    images = images.floats() if isinstance(images, Split) else checks.images(images, None)
    return images.reshape(len(images), -1)


class CNNINTE(ClassifierMixin, TransformerMixin, BaseEstimator):
    """Explain a hidden layer by meta-learning.

    Fitting: the layer's units are clustered into factors; within each factor the training instances
    are clustered, and their cluster numbers are IDs; a meta-learner goes from the IDs to the label; for
    each factor a random forest goes from the pixels to the ID. Predicting: the forests give the IDs of
    new images, the meta-learner their label, and its conditions the explanation.

    Parameters
    ----------
    n_factors, n_ids : int
        Clusters of units, and of instances within each factor; HDBSCAN finds its own numbers.
    clusterer : {"kmeans", "hdbscan"}
    unit_metric, instance_metric : {"euclidean", "cosine"}
        Of the first and the second level of clustering; the paper does not say, and k-means is Euclidean.
    meta_learner : MetaTree or DecisionSet, optional
        By default ``MetaTree(max_depth=5, criterion="entropy", splits="ordered")``.
    summary : {"max", "mean"}
        How the feature maps of a convolutional layer become one number for each unit.
    n_trees, max_nodes : int
        Of each forest; a binary tree of 2,000 nodes has 1,000 leaves.
    random_state : int, RandomState or None
    n_jobs : int
        Processors for the forests; -1 for all.

    Attributes
    ----------
    seeds_ : int array of shape (3,)
        Random states of the first level, of the second and of the forests; factor f adds f to the last two.
    factor_of_unit_ : int array of shape (units,)
    ids_ : int array of shape (n, factors)
        Of the training instances, from the clustering itself.
    centers_ : list of float arrays of shape (ids, units of the factor)
        The mean activation of each ID, factor by factor.
    labels_ : array of shape (n,)
        Of the training instances.
    meta_learner_ : fitted meta-learner
    forests_ : list of RandomForestClassifier
    classes_ : ndarray
    remaining_ : int array of shape (leaves, depths + 1, classes)
        See :func:`~cnninte_utils.methods.cnn_inte.explanations.remaining_counts`.
    degenerate_ : list of str
        Which factors came out with fewer clusters than asked for, and why.

    Notes
    -----
    The paper leaves open which criterion its tree uses; it cites C4.5, hence entropy. Departing from
    the paper is a matter of parameters: nominal splits, a decision set, HDBSCAN.

    References
    ----------
    Liu, Wang, Matwin 2018, "Interpretable Deep Convolutional Neural Networks via Meta-learning",
    Algorithm 1 and Section IV.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> images, hidden = rng.random((60, 4, 4, 1)), rng.random((60, 12))
    >>> inte = CNNINTE(n_factors=3, n_ids=2, random_state=0).fit(images, images[:, 0, 0, 0] > 0.5, hidden)
    >>> inte.transform(images).shape
    (60, 3)
    """

    def __init__(
        self,
        n_factors=8,
        n_ids=10,
        *,
        clusterer="kmeans",
        unit_metric="euclidean",
        instance_metric="euclidean",
        meta_learner=None,
        summary="max",
        n_trees=20,
        max_nodes=2_000,
        random_state=None,
        n_jobs=-1,
    ):
        self.n_factors = n_factors
        self.n_ids = n_ids
        self.clusterer = clusterer
        self.unit_metric = unit_metric
        self.instance_metric = instance_metric
        self.meta_learner = meta_learner
        self.summary = summary
        self.n_trees = n_trees
        self.max_nodes = max_nodes
        self.random_state = random_state
        self.n_jobs = n_jobs

    def fit(self, images, labels, activations):
        """Fit on training images, what is to be explained, and the layer's activations.

        Parameters
        ----------
        images : float array of shape (n, ...) in [0, 1], or Split
        labels : array of shape (n,)
            True classes, as in the paper; the network's predictions to explain those instead.
        activations : float array of shape (n, units) or (n, height, width, units)

        Returns
        -------
        self
        """
        counts = {"n_factors": self.n_factors, "n_ids": self.n_ids}
        checks.at_least(1, **counts, n_trees=self.n_trees, max_nodes=self.max_nodes)
        images, labels, activations = self._check(images, labels, activations)
        self.seeds_ = check_random_state(self.random_state).randint(2**31 - 10_000, size=3)
        of_units, of_ids, of_forests = self.seeds_
        self.factor_of_unit_ = cluster_factors(
            activations,
            self.n_factors,
            clusterer=self.clusterer,
            metric=self.unit_metric,
            random_state=of_units,
        )
        self.ids_ = cluster_ids(
            activations,
            self.factor_of_unit_,
            self.n_ids,
            clusterer=self.clusterer,
            metric=self.instance_metric,
            random_state=of_ids,
        )
        self.centers_ = [
            centers(activations[:, self.factor_of_unit_ == f], ids, metric=self.instance_metric)
            for f, ids in enumerate(self.ids_.T)
        ]
        self.labels_ = labels
        self._report_degenerate()
        self.fit_meta_learner()
        self.forests_ = [self._forest(of_forests + f).fit(images, ids) for f, ids in enumerate(self.ids_.T)]
        return self

    def fit_meta_learner(self):
        """Fit the meta-learner (again, after changing it) on the IDs there are; return self."""
        check_is_fitted(self, "ids_")
        self.meta_learner_ = clone(MetaTree() if self.meta_learner is None else self.meta_learner)
        self.meta_learner_.fit(self.ids_, self.labels_)
        self.classes_, codes = np.unique(self.labels_, return_inverse=True)
        self.remaining_ = remaining_counts(self.meta_learner_.paths(), self.ids_, codes, len(self.classes_))
        return self

    def transform(self, images):
        """Return the IDs (n, factors) that the forests give to images, as :meth:`fit` takes them."""
        check_is_fitted(self, "forests_")
        images = _pixels(images)
        return np.stack([forest.predict(images) for forest in self.forests_], axis=1)

    def assign(self, activations):
        """Return the IDs (n, factors) of new activations by the clusters themselves: the nearest centres.

        It is what the forests of :meth:`transform` guess from the pixels. Activations as for :meth:`fit`.
        """
        check_is_fitted(self, "centers_")
        activations = self._summarized(activations)
        columns = [
            nearest(activations[:, self.factor_of_unit_ == f], means, metric=self.instance_metric)
            for f, means in enumerate(self.centers_)
        ]
        return np.stack(columns, axis=1)

    def predict(self, images):
        """Return the labels that the meta-learner gives to images."""
        check_is_fitted(self, "meta_learner_")
        return self.meta_learner_.predict(self.transform(images))

    def explain(self, image, label=None) -> Explanation:
        """Explain one image; see :meth:`explain_all`."""
        labels = None if label is None else [label]
        return self.explain_all(np.asarray(image)[None], labels)[0]

    def explain_all(self, images, labels=None, *, tolerance=0.0) -> Explanations:
        """Explain every image at once.

        Parameters
        ----------
        images : float array of shape (n, ...) in [0, 1], or Split
        labels : array of shape (n,), optional
            The class against which the others are hypotheses: the true one, as in the paper. By default
            the predicted one.
        tolerance : float in [0, 1)
            Share of a hypothesis's training instances that may be left when it counts as separated.

        Returns
        -------
        Explanations
        """
        return self.explain_ids(self.transform(images), labels, tolerance=tolerance)

    def explain_ids(self, ids, labels=None, *, tolerance=0.0) -> Explanations:
        """Explain instances whose IDs (n, factors) are known; otherwise as :meth:`explain_all`."""
        check_is_fitted(self, "meta_learner_")
        ids = np.asarray(ids)
        if ids.ndim != 2 or ids.shape[1] != self.ids_.shape[1]:
            raise ValueError(f"ids must be (n, {self.ids_.shape[1]}), one for each factor, got {ids.shape}")
        leaf = self.meta_learner_.apply(ids)
        predictions = self.meta_learner_.leaf_labels()[leaf]
        labels = predictions if labels is None else np.asarray(labels)
        if labels.shape != (len(ids),):
            raise ValueError(f"one label for each of {len(ids)} images needed, got the shape {labels.shape}")
        unknown = np.setdiff1d(labels, self.classes_)
        if len(unknown):
            raise ValueError(
                f"labels {unknown.tolist()} were not in the training set {self.classes_.tolist()}"
            )
        codes = np.searchsorted(self.classes_, labels)
        depths = separation_depths(self.remaining_, leaf, codes, tolerance=tolerance)
        return Explanations(
            ids, labels, predictions, leaf, depths, self.classes_, self.meta_learner_.paths(), self.remaining_
        )

    def _check(self, images, labels, activations):
        images, labels, activations = _pixels(images), np.asarray(labels), self._summarized(activations)
        if labels.ndim != 1 or labels.dtype == object:
            raise ValueError(f"labels must be (n,), numbers or words, got {labels.dtype} {labels.shape}")
        if not len(images) == len(labels) == len(activations) > 0:
            raise ValueError(
                f"images, labels and activations must be equally many, "
                f"got {len(images)}, {len(labels)} and {len(activations)}"
            )
        if np.issubdtype(labels.dtype, np.inexact):
            checks.finite(labels=labels)
        return images, labels, activations

    def _summarized(self, activations) -> np.ndarray:
        activations = np.asarray(activations)
        if activations.ndim == 4:
            checks.choice("summary", self.summary, ("max", "mean"))
            activations = getattr(activations, self.summary)(axis=(1, 2))
        if activations.ndim != 2:
            raise ValueError(
                f"activations must be (n, units) or (n, height, width, units), got {activations.shape}"
            )
        checks.finite(activations=activations)
        return activations

    def _forest(self, random_state) -> RandomForestClassifier:
        return RandomForestClassifier(
            self.n_trees,
            max_leaf_nodes=max(2, (self.max_nodes + 1) // 2),
            n_jobs=self.n_jobs,
            random_state=random_state,
        )

    def _report_degenerate(self) -> None:
        self.degenerate_ = []
        if self.clusterer != "kmeans":
            return
        n_factors = self.ids_.shape[1]
        if n_factors < self.n_factors:
            self.degenerate_.append(
                f"{n_factors} factors instead of {self.n_factors}: the units have only so many distinct "
                "activations"
            )
        for factor, n_ids in enumerate(self.ids_.max(axis=0) + 1):
            if n_ids < self.n_ids:
                n_units = int((self.factor_of_unit_ == factor).sum())
                self.degenerate_.append(
                    f"factor {factor} ({n_units} units) has {n_ids} IDs instead of {self.n_ids}: "
                    "its instances have only so many distinct activations"
                )
        for message in self.degenerate_:
            warnings.warn(message, UserWarning, stacklevel=3)
