"""Trust: which changes may be acted on, and why the others wait. Pure, with an injected clock.

An automatic way from a crawler into weights is a way to poison a model, so nothing is planned on
arrival. `config` is the policy, `subjects` what a snapshot says of the subjects concerned,
`evidence` counts independent voices, `breaker` finds bulk anomalies, `assess` gives each change its
state with every reason, and `revert_risk` asks a service that rates revisions.
"""
