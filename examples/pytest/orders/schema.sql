CREATE TABLE items (
    name  text PRIMARY KEY,
    stock integer NOT NULL CHECK (stock >= 0)
);

CREATE TABLE orders (
    id       integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    item     text NOT NULL REFERENCES items,
    quantity integer NOT NULL CHECK (quantity > 0)
);

INSERT INTO items VALUES ('apple', 10), ('pear', 3);
