"""What a network answers: crops against the map, the reach of borders, features as images grow."""
