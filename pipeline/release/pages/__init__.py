"""What a person reads of a release: the report page with its figures and charts, the model card."""
