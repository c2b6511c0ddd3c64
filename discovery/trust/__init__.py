"""Trust: which changes may be acted on, and why the others wait. Pure, with an injected clock.

A program that writes whatever it crawls into weights would let anybody poison a model, so no change
is planned on arrival. `policy` is the configuration, `rules` lists the rules of trust, `assessment`
gives each change its state with what every rule found. The rules look at `subjects` (what a
snapshot states about the subjects of changes), `evidence` (the independent voices behind a fact),
`anomalies` (users, domains and relations with unusually many changes) and `revert_risk` (how likely
a service thinks that a revision is reverted). `backlog` keeps changes for a later edition.
"""
