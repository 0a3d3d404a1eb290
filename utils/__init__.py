"""What any experiment needs: flags, run folders, runtime, metrics, reports."""
