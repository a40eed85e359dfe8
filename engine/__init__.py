"""The method of generative latent-space dynamics of electron density, read top to bottom."""
