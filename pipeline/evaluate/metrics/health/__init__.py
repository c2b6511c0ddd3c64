"""Side effects of editing: on general text, on generated free text, and on the weights."""
