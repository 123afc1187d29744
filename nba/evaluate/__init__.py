"""Does it help? Answers from logged calls and from experiments, each with its interval, or a refusal that says why.

    estimators -> one value a row for each off-policy estimator      overlap  -> whether the log can carry the question
    reward     -> what a call would earn, cross-fitted in time       ope      -> all of it for one target policy
    interval   -> the one mean and interval that they all share      sequence -> intervals that may be looked at every day
    experiment -> who was in which arm, and whether to trust it      ab       -> difference, lift, CUPED, guardrails
    power      -> how many customers before the start                income   -> what the service calls earned and kept

NumPy and nba/stats only; rows come in as arrays and callables, so no room is imported. Every formula names its source.
"""
