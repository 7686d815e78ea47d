-- Who may see the user's presence: `nobody`, `everybody-here`, or names of users separated by commas.
ALTER TABLE users ADD COLUMN presence_to TEXT NOT NULL DEFAULT 'nobody';
