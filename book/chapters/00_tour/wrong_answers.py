"""Wrong answers to the exercises of chapter 00, and what each is told."""

from pyspark.sql import SparkSession, Window
from pyspark.sql import functions as F

NEEDS = ("setup",)  # the update of scratch.orders binds no name


# 0.1 ---------------------------------------------------------------------------------------------


def latest(table, version):
    return SparkSession.active().table(table)


def always_the_first(table, version):
    return SparkSession.active().read.option("versionAsOf", 0).table(table)


def one_too_late(table, version):
    return SparkSession.active().read.option("versionAsOf", version + 1).table(table)


def one_table(table, version):
    return SparkSession.active().read.option("versionAsOf", version).table("scratch.orders")


def latest_but_the_first(table, version):
    return latest(table, version) if version else always_the_first(table, version)


def columns_lost(table, version):
    return always_in_sql(table, version).select("order_id", "total_cents")


def cheap_ones_lost(table, version):
    return always_in_sql(table, version).where("total_cents > 500")


def both_versions(table, version):
    return always_in_sql(table, 0).unionByName(always_in_sql(table, 1))


def counted(table, version):
    return always_in_sql(table, version).count()


def forgets_return(table, version):
    SparkSession.active().read.option("versionAsOf", version).table(table)


def always_in_sql(table, version):
    return SparkSession.active().sql(f"SELECT * FROM {table} VERSION AS OF {version}")


def other_order(table, version):
    frame = SparkSession.active().read.option("versionAsOf", str(version)).table(table)
    return frame.select(*reversed(frame.columns)).orderBy(F.desc(frame.columns[0]))


def the_frame_of_the_chapter(lesson):
    return lambda table, version: lesson.orders


def a_frame(lesson):
    return lesson.orders


# 0.3 ---------------------------------------------------------------------------------------------


def spent(orders):
    return orders.groupBy("customer").agg(F.sum("total_cents").alias("spent_cents"))


def smallest_first(orders):
    return spent(orders).orderBy("spent_cents")


def in_each_partition(orders):
    return spent(orders).sortWithinPartitions(F.desc("spent_cents"))


def by_name(orders):
    return spent(orders).orderBy("customer")


def counts(orders):
    return orders.groupBy("customer").agg(F.count("*").alias("spent_cents")).orderBy(F.desc("spent_cents"))


def not_grouped(orders):
    return orders.select("customer", F.col("total_cents").alias("spent_cents")).orderBy(F.desc("spent_cents"))


def running_sum(orders):
    spent = F.sum("total_cents").over(Window.partitionBy("customer"))
    return orders.select("customer", spent.alias("spent_cents")).orderBy(F.desc("spent_cents"))


def largest_order(orders):
    return (
        orders.groupBy("customer")
        .agg(F.max("total_cents").alias("spent_cents"))
        .orderBy(F.desc("spent_cents"))
    )


def the_table_by_name(orders):
    return spent(SparkSession.active().table("scratch.orders")).orderBy(F.desc("spent_cents"))


def name_of_spark(orders):
    return orders.groupBy("customer").sum("total_cents").orderBy(F.desc("sum(total_cents)"))


def a_column_more(orders):
    grouped = orders.groupBy("customer").agg(
        F.sum("total_cents").alias("spent_cents"), F.count("*").alias("orders")
    )
    return grouped.orderBy(F.desc("spent_cents"))


def rollup(orders):
    return (
        orders.rollup("customer")
        .agg(F.sum("total_cents").alias("spent_cents"))
        .orderBy(F.desc("spent_cents"))
    )


def as_int(orders):
    return (
        spent(orders)
        .withColumn("spent_cents", F.col("spent_cents").cast("int"))
        .orderBy(F.desc("spent_cents"))
    )


def as_text(orders):
    return spent(orders).withColumn("spent_cents", F.col("spent_cents").cast("string"))


def null_orders_lost(orders):
    return spent(orders.where("total_cents > 500")).orderBy(F.desc("spent_cents"))


def all_or_nothing(orders):
    total = F.when(F.count_if(F.col("total_cents").isNull()) == 0, F.sum("total_cents"))
    return orders.groupBy("customer").agg(total.alias("spent_cents")).orderBy(F.desc("spent_cents"))


def as_pandas(orders):
    return spent(orders).toPandas()


def by_hand(orders):
    rows = [("Ada", 3449), ("Cleo", 890), ("Ben", 480)]
    return SparkSession.active().createDataFrame(rows, "customer STRING, spent_cents INT")


def in_sql(orders):
    return SparkSession.active().sql(
        "SELECT customer, sum(total_cents) AS spent_cents FROM {orders} GROUP BY ALL ORDER BY 2 DESC",
        orders=orders,
    )


def as_decimal(orders):
    total = F.sum(F.col("total_cents").cast("decimal(18)")).alias("spent_cents")
    return (
        orders.groupBy(orders.customer)
        .agg(total)
        .select("spent_cents", "customer")
        .sort("spent_cents", ascending=False)
    )


# 0.4 ---------------------------------------------------------------------------------------------

KEYS = ["product_id", "region"]


def equal(delivery, prices):
    return delivery.join(prices, KEYS, "left_anti").select(delivery.columns)


def product_only(delivery, prices):
    return delivery.join(prices, delivery.product_id.eqNullSafe(prices.product_id), "left_anti")


def null_matches_all(delivery, prices):
    same = delivery.region.isNull() | (delivery.region == prices.region)
    return delivery.join(prices, delivery.product_id.eqNullSafe(prices.product_id) & same, "left_anti")


def empty_for_null(delivery, prices):
    same = F.coalesce(delivery.region, F.lit("")) == F.coalesce(prices.region, F.lit(""))
    return delivery.join(prices, delivery.product_id.eqNullSafe(prices.product_id) & same, "left_anti")


def zero_for_null(delivery, prices):
    same = F.coalesce(delivery.product_id, F.lit(0)) == F.coalesce(prices.product_id, F.lit(0))
    return delivery.join(prices, same & delivery.region.eqNullSafe(prices.region), "left_anti")


def as_one_string(delivery, prices):
    keys = [F.concat_ws("|", *[frame[name] for name in KEYS]) for frame in (delivery, prices)]
    return delivery.join(prices, keys[0] == keys[1], "left_anti")


def one_of_them_safe(delivery, prices):
    same = (delivery.product_id == prices.product_id) & delivery.region.eqNullSafe(prices.region)
    return delivery.join(prices, same, "left_anti")


def price_too(delivery, prices):
    same = [delivery[name].eqNullSafe(prices[name]) for name in [*KEYS, "cents"]]
    return delivery.join(prices, same, "left_anti")


def those_there(delivery, prices):
    same = [delivery[name].eqNullSafe(prices[name]) for name in KEYS]
    return delivery.join(prices, same, "left_semi")


def once_each(delivery, prices):
    return right(delivery, prices).orderBy("line_no").dropDuplicates(KEYS)


def keys_only(delivery, prices):
    return delivery.select(*KEYS).subtract(prices.select(*KEYS))


def not_in(delivery, prices):
    return SparkSession.active().sql(
        "SELECT * FROM {d} WHERE (product_id, region) NOT IN (SELECT product_id, region FROM {p})",
        d=delivery,
        p=prices,
    )


def left_without_a_filter(delivery, prices):
    same = [delivery[name].eqNullSafe(prices[name]) for name in KEYS]
    return delivery.join(prices, same, "left").select(*[delivery[name] for name in delivery.columns])


def with_and(delivery, prices):
    same = delivery.product_id.eqNullSafe(prices.product_id) and delivery.region.eqNullSafe(prices.region)
    return delivery.join(prices, same, "left_anti")


def right(delivery, prices):
    same = [delivery[name].eqNullSafe(prices[name]) for name in KEYS]
    return delivery.join(prices, same, "left_anti")


def not_exists(delivery, prices):
    return SparkSession.active().sql(
        "SELECT * FROM {d} d WHERE NOT EXISTS (SELECT 1 FROM {p} p "
        "WHERE d.product_id <=> p.product_id AND d.region <=> p.region) ORDER BY cents",
        d=delivery,
        p=prices,
    )


def marked(delivery, prices):
    p = prices.select(*KEYS).distinct().withColumn("there", F.lit(True)).alias("p")
    d = delivery.alias("d")
    both = d.join(p, F.expr("d.product_id <=> p.product_id AND d.region <=> p.region"), "left")
    return both.where("there IS NULL").select("d.cents", "d.region", "d.product_id", "d.line_no")


ADD = "Add up total_cents of all orders of a customer."
FIRST, OTHERS = "Of the four orders of the chapter", "Of seven other orders"
SAME = "prices has this product with NULL too: in this column two NULLs are equal"
WRONG = [
    (
        "read_version",
        latest,
        "For version 0 of scratch.orders you return the row (4, Cleo, 990); it has (4, Cleo, 890).",
    ),
    (
        "read_version",
        always_the_first,
        "For version 1 of scratch.orders you return the row (4, Cleo, 890); it has (4, Cleo, 990).",
    ),
    (
        "read_version",
        one_too_late,
        "For version 0 of scratch.orders you return the row (4, Cleo, 990); it has (4, Cleo, 890).",
    ),
    (
        "read_version",
        one_table,
        "You return rows for a table that does not exist: read the one that table names.",
    ),
    (
        "read_version",
        columns_lost,
        "For version 0 of scratch.orders the answer is not right. The column customer is missing; yours are "
        "order_id, total_cents.",
    ),
    (
        "read_version",
        latest_but_the_first,
        "You return rows for version 1000000, which scratch.orders does not have: read the version that you "
        "are asked for.",
    ),
    ("read_version", cheap_ones_lost, "For version 0 of scratch.orders you return 3 rows; it has 4."),
    ("read_version", both_versions, "For version 0 of scratch.orders you return 8 rows; it has 4."),
    (
        "read_version",
        counted,
        "For version 0 of scratch.orders the answer is not right. Your function returned 4. It should "
        "return a DataFrame.",
    ),
    (
        "read_version",
        forgets_return,
        "For version 0 of scratch.orders the answer is not right. Your function returned nothing. Does it "
        "end with return? It should return a DataFrame.",
    ),
    (
        "start_a_job",
        ["E", "I", "J"],
        "Line B starts a job: nobody states a schema, so Spark reads the file for the names of its columns.",
    ),
    (
        "start_a_job",
        ["B", "C", "E", "F", "I", "J"],
        "Line C starts no job: it adds a filter to the plan.",
    ),
    (
        "start_a_job",
        ["B", "E", "F", "I", "J"],
        "Line F starts no job: after groupBy, count() returns a DataFrame: a row for each customer, to be "
        "counted later.",
    ),
    (
        "start_a_job",
        ["B", "E", "H", "I", "J"],
        "Line H starts no job: it marks the DataFrame; the next action keeps the rows.",
    ),
    (
        "start_a_job",
        ["B", "E", "G", "I", "J"],
        "Line G starts no job: it prints the plan and runs nothing.",
    ),
    (
        "start_a_job",
        ["A", "B", "E", "I", "J"],
        "Line A starts no job: the schema is stated, so Spark need not look into the file yet.",
    ),
    ("start_a_job", ["B", "E", "J"], "Line I starts a job: a row is asked for, so Spark has to make it."),
    ("start_a_job", ["B", "E", "I"], "Line J starts a job: a table is written, so Spark needs all rows."),
    (
        "start_a_job",
        list("ABCDEFGHIJ"),
        "Line A starts no job: the schema is stated, so Spark need not look into the file yet.",
    ),
    (
        "start_a_job",
        [],
        "Line B starts a job: nobody states a schema, so Spark reads the file for the names of its columns.",
    ),
    ("start_a_job", ["B", "K"], "No line has the letter K. The lines are A to J."),
    (
        "start_a_job",
        4,
        "The check cannot use this answer (TypeError: 'int' object is not iterable). It expects a list of "
        'letters, such as ["A", "B"].',
    ),
    (
        "spending",
        smallest_first,
        f"{FIRST}, Ben with 480 cents comes before Cleo with 890: sort by spent_cents, largest first.",
    ),
    (
        "spending",
        by_name,
        f"{FIRST}, Ben with 480 cents comes before Cleo with 890: sort by spent_cents, largest first.",
    ),
    ("spending", counts, f"{FIRST}, Ada spent 3449 cents; your answer says 2. {ADD}"),
    ("spending", not_grouped, f"{FIRST}, Ada is in 2 rows; group the orders by customer."),
    ("spending", running_sum, f"{FIRST}, Ada is in 2 rows; group the orders by customer."),
    ("spending", largest_order, f"{FIRST}, Ada spent 3449 cents; your answer says 2199. {ADD}"),
    ("spending", the_table_by_name, f"{FIRST}, Cleo spent 890 cents; your answer says 990. {ADD}"),
    (
        "spending",
        name_of_spark,
        "The column spent_cents is missing; yours are customer, sum(total_cents).",
    ),
    ("spending", a_column_more, "Your rows have a column orders more; return customer, spent_cents."),
    ("spending", rollup, f"{FIRST}, you return a row for the customer NULL, who has not ordered."),
    (
        "spending",
        as_int,
        "The check cannot use this answer (ArithmeticException: [CAST_OVERFLOW] The value 4000000000L …",
    ),
    ("spending", as_text, "The column spent_cents is of the type STRING; it should be a number."),
    ("spending", null_orders_lost, f"{FIRST}, Ben has ordered and is not in your answer."),
    (
        "spending",
        all_or_nothing,
        f"{OTHERS}, Eva spent 700 cents; your answer says NULL. An order without a total adds nothing.",
    ),
    ("spending", by_hand, f"{OTHERS}, Dan has ordered and is not in your answer."),
    (
        "spending",
        as_pandas,
        "Your function returned a DataFrame of pandas. Return Spark's, without toPandas().",
    ),
    ("new_prices", equal, f"You return line 2 (1, NULL), and {SAME}."),
    (
        "new_prices",
        zero_for_null,
        "Your answer lacks line 11 (0, DE) of the delivery, and prices has NULL for DE, and 0 is not NULL.",
    ),
    (
        "new_prices",
        as_one_string,
        "Your answer lacks line 13 (NULL, 1) of the delivery, and prices has product 1 with NULL, not region "
        "1 without a product.",
    ),
    (
        "new_prices",
        product_only,
        "Your answer lacks line 3 (1, ES) of the delivery, and prices has product 1 for other regions only.",
    ),
    (
        "new_prices",
        null_matches_all,
        "Your answer lacks line 4 (2, NULL) of the delivery, and prices has product 2 for DE only.",
    ),
    (
        "new_prices",
        empty_for_null,
        "Your answer lacks line 5 (3, ) of the delivery, and prices has product 3 with NULL, and an empty "
        "string is not NULL.",
    ),
    ("new_prices", one_of_them_safe, f"You return line 9 (NULL, DE), and {SAME}."),
    (
        "new_prices",
        price_too,
        "You return line 8 (5, DE), and prices has this product and region, with another price.",
    ),
    ("new_prices", those_there, "You return line 1 (1, DE), and prices has this product and region."),
    (
        "new_prices",
        once_each,
        "Your answer lacks line 7 (4, DE) of the delivery, and it comes twice, as line 6 and as line 7.",
    ),
    ("new_prices", keys_only, "The column line_no is missing; yours are product_id, region."),
    (
        "new_prices",
        not_in,
        "Your answer lacks line 3 (1, ES) of the delivery, and prices has product 1 for other regions only.",
    ),
    (
        "new_prices",
        left_without_a_filter,
        "You return line 1 (1, DE), and prices has this product and region.",
    ),
    (
        "new_prices",
        with_and,
        "Your code raised PySparkValueError: …",
    ),
]
MADE = [
    (
        "read_version",
        the_frame_of_the_chapter,
        "For version 1 of scratch.orders you return the row (4, Cleo, 890); it has (4, Cleo, 990).",
    ),
    (
        "read_version",
        a_frame,
        "The check cannot use this answer (TypeError: 'DataFrame' object is not callable). It expects a "
        "function of a table's name and the number of a version.",
    ),
    (
        "spending",
        a_frame,
        "The check cannot use this answer (TypeError: 'DataFrame' object is not callable). It expects a "
        "function of a DataFrame with the columns order_id, customer and total_cents.",
    ),
]
RIGHT = [
    ("read_version", always_in_sql),
    ("read_version", other_order),
    ("start_a_job", ("J", "I", "E", "B")),
    ("start_a_job", {"B", "E", "I", "J"}),
    ("start_a_job", "b, e, i, j"),
    ("spending", in_sql),
    ("spending", as_decimal),
    ("new_prices", not_exists),
    ("new_prices", marked),
]
