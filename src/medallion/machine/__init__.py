"""What is done once on a computer: Java, the jars, the class archive, and a look at it all."""
