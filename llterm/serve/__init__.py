"""llterm for programs: models behind HTTP, in the dialects that clients speak."""
