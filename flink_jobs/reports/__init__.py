"""Pages and charts that every report shares: Jinja2 templates, one style sheet and matplotlib figures as SVG text."""
