"""Labels and predictions in the formats of other tools: cleanlab, FiftyOne and Label Studio."""

from transferkit.interchange.cleanlab import from_cleanlab, to_cleanlab
from transferkit.interchange.fiftyone import read_fiftyone, write_fiftyone
from transferkit.interchange.label_studio import label_studio_config, read_label_studio, write_label_studio

__all__ = [
    "from_cleanlab",
    "label_studio_config",
    "read_fiftyone",
    "read_label_studio",
    "to_cleanlab",
    "write_fiftyone",
    "write_label_studio",
]
