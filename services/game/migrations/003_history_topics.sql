-- The topics of games are published by `scoring` now, which knows what a match did to ratings. One relay per topic.
delete from outbox where topic like 'oofgg.match-history.%';
