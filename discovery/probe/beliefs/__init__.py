"""What a model believes of a fact: candidate answers, verdicts, calibrated confidence, cut-off."""
