-- Clears away what has ended. Reply: nothing; what can be delivered now stands in every answer.
advance()
return finish('')
