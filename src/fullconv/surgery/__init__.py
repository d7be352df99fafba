"""From blueprint to surgery plan: pure reasoning about shapes, with no tensor in sight."""
