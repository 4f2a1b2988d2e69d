"""Networks: built, weighted, trained, and looked into."""

import logging


def _is_about_something_else(record: logging.LogRecord) -> bool:
    return "triggered tf.function retracing" not in record.getMessage()


# every layer looked at is a model of its own, so TensorFlow compiles more often than it thinks wise
logging.getLogger("tensorflow").addFilter(_is_about_something_else)
