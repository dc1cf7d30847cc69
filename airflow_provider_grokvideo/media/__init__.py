"""Video, image and audio files: measured, decoded, checked."""
