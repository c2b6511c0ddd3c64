"""Documents of a release for people: the report page with its charts, and the model card."""
