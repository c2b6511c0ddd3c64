"""Relations: templates that put a fact into a sentence, and labels that are pasted into them."""
