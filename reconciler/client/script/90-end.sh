# What was defined above is begun here; the line behind says that all of it came.
run_request
# end
