-- Run once, by the superuser, when the database is made: the services get a role that owns their database and may do
-- nothing else. Its password is the last field of the file that they connect with.
\set ON_ERROR_STOP on
\getenv pgpass OOFGG_PGPASS
\if :{?pgpass}
\else
\set pgpass /run/secrets/pgpass
\endif
\setenv OOFGG_PGPASS :pgpass
\set password `cut -d: -f5 "$OOFGG_PGPASS"`
create role oofgg login password :'password';
create database oofgg owner oofgg;
revoke all on database oofgg from public;
