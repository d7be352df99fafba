"""From what was measured to what there is to say: a file for each question of an audit."""
