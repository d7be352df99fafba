"""How an audit looks: as text on a terminal, as Markdown, as a web page."""
