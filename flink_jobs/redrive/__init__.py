"""Dead letters sent again: each once, with an audit in Postgres that outlives a kill at any moment."""
