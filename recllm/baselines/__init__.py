"""What a recommender must beat: popularity and co-visitation."""
