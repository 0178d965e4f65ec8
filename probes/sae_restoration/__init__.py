"""What steering along the original's sparse latents brings back."""
