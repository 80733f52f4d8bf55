"""Imports annotations of other tools as datasets in the ImageNet VID layout. The commands are lib.dataset.import_*."""
