-- Every batch replaces the row of the current second, which has some bytes for each product sold in it. To compress them took
-- the server 0.4 ms for 3,000 products and 1 ms for 7,000, as long as to write the rest of the batch; now it takes 0.06 and
-- 0.13 ms. Rows that exist stay as they are. One change of a table at a time, as a cluster needs it.
ALTER TABLE sales ALTER COLUMN units SET STORAGE EXTERNAL;
ALTER TABLE sales ALTER COLUMN net SET STORAGE EXTERNAL;
