-- Which change first registered the contact without a gap: who held it first is known after a restart too.
-- 0: written before this was kept.
ALTER TABLE bindings ADD COLUMN since INTEGER NOT NULL DEFAULT 0;
