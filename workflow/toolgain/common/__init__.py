"""What every room uses: errors, files, progress, processes, logs. Imports no other room."""
