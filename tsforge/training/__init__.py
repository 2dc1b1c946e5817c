"""Training: the recipe, the one LightningModule, checkpoints and artifacts."""
