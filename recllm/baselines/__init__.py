"""What a recommender must beat: popularity, co-visitation and other yardsticks."""
