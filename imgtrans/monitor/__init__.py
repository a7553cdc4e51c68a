"""What a person sees of a run: the display, the run folder, sample grids, the report."""
