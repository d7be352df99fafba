"""Host networks: readers translate them into blueprints, writers carry plans out on them."""
