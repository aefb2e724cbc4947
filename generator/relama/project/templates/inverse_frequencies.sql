select * from {{ relama.staged(source('staged_weights', '<< name >>')) }}
