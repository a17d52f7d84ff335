-- How the queue of a match rated when it was taken in (mu, sigma, beta, tau, provisional matches), so that it can be rated
-- again as it was. Null: nobody noted it, or it moved no rating.
alter table match add column rating_rules double precision[];
