"""From other tools' annotations to the layout of ImageNet VID; the commands are lib.dataset.import_*."""
