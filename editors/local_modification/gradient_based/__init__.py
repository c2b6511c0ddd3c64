"""Methods that find a value by gradient descent and write it in closed form: MEMIT."""
