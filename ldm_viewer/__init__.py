"""napari plugin: watch an emulator of electron density run beside the truth."""
