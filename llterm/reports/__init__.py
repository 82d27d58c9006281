"""Results of jobs as text, JSON, pages and plots."""
