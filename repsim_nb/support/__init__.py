"""What every wing uses: errors, labels, checks of what comes in, files, workers, progress."""
