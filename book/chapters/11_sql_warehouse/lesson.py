# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     name: python3
#   medallion:
#     makes: {}
#     reads: [gold.fact_sales, gold.dim_date, gold.sales_metrics, silver.orders, silver.maintenance]
#     leaves: [published]
#     grain: {}
#     minutes: {read: 60, practise: 70}
#     summary: the tables over SQL for other programs, and a dashboard as code
#     outline: >-
#       A SQL endpoint with a key, queried from Python, pandas and beeline, with Spark Connect and DuckDB beside it.
#       The SQL of analysts, parameters and SQL injection, one KPI over four interfaces. A dashboard as code with
#       states and an alert, concurrent clients, caches, and the query history.
#     objectives:
#     - serve tables over SQL to programs without Spark, and explain what a login and a key prove
#     - write the SQL of analysts, and bind parameters in place of writing values into the SQL
#     - show that a KPI is equal to the cent over every interface
#     - publish a dashboard from tested SQL files, with states for no data and late data, and an alert
#     - keep small queries quick beside a long one, and read who asked what in the query history
# ---

# %% [markdown]
# # SQL warehouse and dashboards
#
# Gold is ready, and most people who need it will never open a notebook. They use a BI tool, a spreadsheet, a script or
# a page. The chapter has three parts:
#
# - **Serve.** A SQL **endpoint**: an address to which a program sends a statement, and which returns the rows.
# - **Publish.** A dashboard whose numbers have a definition, a test, and a state.
# - **Operate.** Many clients at once, caches, and the query history.
#
# ![Where we are in the flow: from Gold to a SQL endpoint and a dashboard](../book/figures/flow-11.svg)

# %% tags=["setup"]
from datetime import date

import pandas as pd
from pyspark.sql import functions as F

import medallion

check = medallion.checks("11")  # the file checks.py beside this lesson
spark = medallion.start("11")

# %% [markdown]
# ## A SQL endpoint: Spark's Thrift server
#
# Spark's **Thrift server** runs inside our Spark session and listens on this machine only. It speaks the protocol of
# **HiveServer2**, the server of Apache Hive. Many tools have a **database driver** for it, a library that sends
# statements and decodes rows. (This is not Spark's driver process. `warehouse` is a small module of this course.
# `medallion sql` starts the same endpoint in a terminal, on port 10000, until Ctrl-C.)

# %% tags=["setup"]
from medallion.servers import warehouse

_ = warehouse.start()

# %% [markdown]
# A Python program uses it through **DB-API**, Python's standard interface to databases: a connection, a cursor,
# `execute`, `fetchall`. The driver here is `pyhive==0.7.0`. (Its project was given to Apache Kyuubi.) Lena and Marc
# are two colleagues; here they are only login names.

# %%
lena = warehouse.connect("lena")
cursor = lena.cursor()
cursor.execute("SELECT count(*), sum(line_cents) FROM gold.fact_sales WHERE sold")
cursor.fetchall()

# %% [markdown]
# 105,175 order lines were sold, for 115,742,086 cents: the 1,157,420.86 euros of chapter 03. The cursor sent a string
# and got tuples, so the program needs no Spark. Which types do the values have? (`BD` makes a DECIMAL, `D` a DOUBLE.)

# %%
cursor.execute("SELECT DATE'2025-07-01' AS day, 1.50BD AS euros, array(1, 2) AS list")
cursor.fetchall(), [column[:2] for column in cursor.description]

# %% [markdown]
# Money stays exact: a `DECIMAL` arrives as `Decimal`. A date arrives as a string, and so does an array. `description`
# has a tuple for each column, with its name and type, and each client decides what it makes of them.
#
# If a statement is wrong, the server returns an error of a class such as `TABLE_OR_VIEW_NOT_FOUND`. (`warehouse` cuts
# off the Java stack trace, which PyHive would show. A page must not show it. We print the beginning of a message.)


# %%
def refused(call, *given, **named):
    """Return the message of the error that a call raises."""
    try:
        call(*given, **named)
    except Exception as error:
        return str(error)
    raise ValueError("The call succeeded.")


# %%
refused(cursor.execute, "SELECT count(*) FROM gold.fact_sale")[:79]

# %% [markdown]
# ### Authentication: a login name is no proof, a key is
#
# We connect again, with a login name that we have made up. The second column calls a Java method from SQL. (`with`
# closes the connection at its end.)

# %%
with warehouse.connect("the board") as connection, connection.cursor() as asked:
    asked.execute("SELECT current_user(), java_method('java.lang.Math', 'abs', -3)")
    answer = asked.fetchall()
answer

# %% [markdown]
# The endpoint believes the name. What it checks is a **key**. `warehouse.connect` reads it from a file that only this
# user of the machine can open. The key proves only that the client can read this file, not who the person is. `'3'`
# shows why it must stay secret: a SQL client can call any static Java method, so it can do what the account of Spark
# can. A client does not check to whom it sends the key either, so each start makes a new one. A real warehouse puts
# authentication of persons, encryption (TLS, which also proves the server) and a closed network in front.
#
# Now without the key. `warehouse.start()` returns the port of the running endpoint. `CUSTOM` is PyHive's name for a
# user and a password that a class of the server checks.

# %%
from pyhive import hive

login_settings = {"port": warehouse.start(), "username": "lena", "auth": "CUSTOM"}
refused(hive.connect, "127.0.0.1", password="a guess", **login_settings)

# %% [markdown]
# The server rejects the login. (By Hive's documentation the default is `hive.server2.authentication=NONE`: the server
# then accepts any password.)
#
# Each connection is a session of its own. A temporary view of one connection is not visible in another:

# %%
cursor.execute("CREATE TEMPORARY VIEW mine AS SELECT 1 AS one")
marc = warehouse.connect("marc")
refused(marc.cursor().execute, "SELECT * FROM mine")[:66]

# %% [markdown] tags=["exercise"]
# ### Exercise 11.1: read one number over DB-API
#
# Write `one(connect, statement)`. `connect` is a function without arguments that returns a new connection, so your
# function can open it and close it. Return the single value that the statement gives; NULL is a value, `None`. If it
# gives no row, several rows or several columns, raise a `ValueError`. An error of the server goes on to the caller.
# Close the connection in each case, also after an error. Try
# `one(lambda: warehouse.connect("me"), "SELECT count(*) FROM gold.fact_sales")`, which is 120,182.


# %% tags=["solution"]
def one(connect, statement):
    """Return the only value of a statement; the connection is closed in each case."""
    ### BEGIN SOLUTION
    with connect() as connection, connection.cursor() as cursor:
        cursor.execute(statement)
        rows = cursor.fetchall()
    if len(rows) != 1 or len(rows[0]) != 1:
        raise ValueError(f"{len(rows)} rows, and one row of one value was expected")
    return rows[0][0]
    ### END SOLUTION


# %% tags=["check"]
check.one(one)

# %% [markdown]
# ## Clients: pandas, `beeline`, and tools with JDBC
#
# A pandas DataFrame needs the rows and the column names. (`parameters` are for a later section.)


# %%
def ask(statement, parameters=None, login="lena"):
    """Return the rows of a statement over the endpoint, as a pandas DataFrame."""
    with warehouse.connect(login) as connection, connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        names = [column[0] for column in cursor.description]
        return pd.DataFrame(cursor.fetchall(), columns=names)


# %%
by_channel = ask("""
    SELECT channel, count(DISTINCT order_id) AS orders, sum(line_cents) AS cents
    FROM gold.fact_sales WHERE sold GROUP BY channel ORDER BY cents DESC
""")
by_channel

# %% [markdown]
# The web has the most orders, 17,609, and the most revenue, 59,014,831 cents.
#
# Many tools fetch only the first rows, often 1,000, compute on these, and do not show that rows are missing.
# `fetchmany(1000)` does the same:

# %%
cursor.execute("SELECT line_cents FROM gold.fact_sales WHERE sold ORDER BY ALL DESC")
first = cursor.fetchmany(1000)
sum(cents for (cents,) in first), int(by_channel["cents"].sum())

# %% [markdown]
# The 1,000 largest lines add up to 7,595,815 cents, all 105,175 to 115,742,086. A tool that adds up what it has fetched
# shows 7 % of the revenue. So aggregate on the server, and fetch the result.
#
# `beeline` is the client in the PySpark package. It is a Java program and uses Hive's JDBC driver, as DBeaver,
# LibreOffice Base and many BI tools do. `warehouse.beeline` runs `beeline -u ADDRESS -n marc -w KEYFILE -e STATEMENT`,
# and asks for CSV.

# %% costly="it starts a JVM of its own"
shown = "SELECT current_user() AS login, count(*) AS line_count FROM gold.fact_sales"
print(warehouse.beeline("marc", shown))

# %% [markdown]
# 120,182 are all lines, with cancelled and returned ones. For such a tool, `medallion sql` prints the address, such as
# `jdbc:hive2://127.0.0.1:10000/`, and the path of the key file. The content of this file is the password. The tool
# needs a driver for Hive. (Excel needs one for ODBC.)

# %% [markdown]
# ## Spark Connect and DuckDB: which interface for which client
#
# The Thrift server takes SQL strings and returns rows. **Spark Connect** takes query plans: the client program uses
# DataFrames, and needs no Java virtual machine (**JVM**). We serve our session for a moment. A second Python program
# then connects to it. It finds the address in the environment variable `SPARK_REMOTE`.

# %%
PROGRAM = """
from pyspark.sql import SparkSession
spark = SparkSession.builder.getOrCreate()
lines = spark.table("gold.fact_sales").where("sold").groupBy("channel").count()
print(lines.orderBy("channel").collect()[0].asDict(), hasattr(spark, "_jvm"))
"""

# %% costly="it starts a Python of its own"
import subprocess
import sys

from medallion.servers import spark_connect

with spark_connect.serving() as environment:
    command = [sys.executable, "-c", PROGRAM]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True)
print(ran.stdout or ran.stderr[-300:])

# %% [markdown]
# Our session counted 42,819 sold lines of the app, and `False` says that the program has no JVM.
#
# **DuckDB** needs no server at all. It reads the same files inside the Python process. It finds the Python variable
# `fact_sales` by its name in the SQL.

# %%
import duckdb
from deltalake import DeltaTable

place = medallion.home() / "gold" / "fact_sales"
fact_sales = DeltaTable(str(place)).to_pyarrow_dataset()
duckdb.sql("SELECT count(*), sum(line_cents) FROM fact_sales WHERE sold").fetchall()

# %% [markdown]
# The same rows and the same cents as over the endpoint. Which interface do you choose?
#
# | interface | gets | good for | lacks |
# |---|---|---|---|
# | Thrift server | SQL | BI tools, spreadsheets, any language with JDBC or ODBC | bound parameters (next section) |
# | Spark Connect | DataFrames | programs, IDEs, code that grows | tools: its JDBC driver is new (Spark 4.1) |
# | DuckDB | files | one person, one machine, quick answers | logins, Spark views, updates and merges of Delta |
#
# DuckDB opens files, so its user needs the right to read the files. No view and no login stands in between.

# %% [markdown]
# ## Parameters and SQL injection
#
# A web page finds people by last name. The obvious way writes the name into the statement:

# %%
_ = spark.sql("""
    CREATE OR REPLACE TABLE scratch.people AS SELECT * FROM VALUES
        ("O'Brien", 'Kiel'), ('Meier', 'Bonn'), ('Young', 'Ulm') AS t(last_name, city)
""")


# %%
def glued(name):
    """Return the people with a last name; the name is written into the SQL."""
    return ask(f"SELECT * FROM scratch.people WHERE last_name = '{name}'")


# %%
refused(glued, "O'Brien")[:70], len(glued("x' OR '1'='1"))

# %% [markdown]
# The quote in `O'Brien` ends the string, and the rest is a syntax error. The second name also ends the string and
# continues as valid SQL: `OR '1'='1'` is always true, so all 3 people are returned. This is **SQL injection**: whoever
# types into this page writes our statements.
#
# DB-API has parameters for that. The statement has a **placeholder**, and the value comes separately.

# %%
BY_NAME = "SELECT * FROM scratch.people WHERE last_name = %(name)s"
[len(ask(BY_NAME, {"name": name})) for name in ("O'Brien", "x' OR '1'='1")]

# %% [markdown]
# O'Brien is found, and the injection is only a name that nobody has. Who inserted the value? The query history shows
# the statement that the server received.

# %%
ask(BY_NAME, {"name": "O'Brien"})
print(warehouse.history()["statement"].iloc[-1])

# %% [markdown]
# The **driver** did. The protocol of HiveServer2 carries no parameters, so PyHive (and impyla, and Hive's JDBC driver)
# writes them into the string and escapes the quote. This works while client and server agree on how a quote is
# escaped. One setting of the server changes that: with `escapedStringLiterals`, Spark keeps a backslash as a character.

# %%
cursor.execute("SET spark.sql.parser.escapedStringLiterals = true")
try:
    cursor.execute(BY_NAME, {"name": "O'Brien"})
    lost = cursor.fetchall()
finally:
    cursor.execute("SET spark.sql.parser.escapedStringLiterals = false")
lost

# %% [markdown] given=["4.1"]
# Spark now looks for `O\'Brien`, finds nobody, and raises no error.
#
# ### Bound parameters: `spark.sql` with args, EXECUTE IMMEDIATE
#
# `spark.sql` takes the statement and the values separately. By default, though, Spark 4.1 and later writes the values
# into the statement as literals before it parses it. In our session this fails:

# %%
by_name = "SELECT * FROM scratch.people WHERE last_name = :name"
try:
    spark.sql(by_name, args={"name": "O'Brien"})
except Exception as error:
    unbound = medallion.reason(error)
unbound

# %% [markdown] given=["7640", "4.1"]
# The cause is a bug in Delta's parser, which loses the parameters (issue 7640 of delta-io/delta, seen with Spark 4.2.0
# and Delta 4.4.0). With the setting below, Spark **binds** as before 4.1: it parses the statement with its placeholder,
# and puts the value into the plan. The value is never parsed. (Over Spark Connect the setting does not help in these
# versions. There use a condition of a DataFrame, which also holds its value as a value: `F.col("last_name") == name`.)

# %% tags=["setup"]
spark.conf.set("spark.sql.legacy.parameterSubstitution.constantsOnly", True)

# %%
names = "O'Brien", "x' OR '1'='1"
[spark.sql(by_name, args={"name": name}).count() for name in names]

# %% [markdown]
# The change of `escapedStringLiterals` does not matter to a bound value. O'Brien is still found:

# %%
spark.conf.set("spark.sql.parser.escapedStringLiterals", True)
try:
    found = spark.sql(by_name, args={"name": "O'Brien"}).count()
finally:
    spark.conf.unset("spark.sql.parser.escapedStringLiterals")
found

# %% [markdown]
# In SQL itself, `EXECUTE IMMEDIATE … USING` binds in the same way. The value comes from the server, here from a
# session variable.

# %%
_ = spark.sql("""DECLARE OR REPLACE VARIABLE sought = "x' OR '1'='1" """)
spark.sql("""
    EXECUTE IMMEDIATE 'SELECT count(*) AS found FROM scratch.people
                       WHERE last_name = ?'
    USING sought
""")

# %% [markdown]
# 0 rows: the injection is only a name. This helps if the value is already on the server. It does not help a client that
# still has to send the value. The name of a table is not a value. It is bound with `IDENTIFIER`:

# %%
spark.sql(
    "SELECT count(*) AS people FROM IDENTIFIER(:table)",
    args={"table": "scratch.people"},
)

# %% tags=["setup"]
few_people = spark.sql("""
    SELECT * FROM VALUES ("O'Brien", 'Kiel'), ('Meier', 'Bonn') AS t(last_name, city)
""")
few_people.createOrReplaceTempView("few_people")

# %% [markdown] tags=["exercise"]
# ### Exercise 11.2: bind parameters
#
# Write `named(view, name)`. `view` is the name of a view with the columns `last_name` and `city`. Return a Spark
# DataFrame, made with `spark.sql`, of these two columns and the rows whose last name equals `name`; `None` finds
# nobody. Bind both parameters: the value with `:name`, the name of the view with `IDENTIFIER(:view)`. Try
# `named("few_people", "O'Brien")`, which has one row, O'Brien of Kiel.


# %% tags=["solution"]
def named(view, name):
    """Return the rows of a view with a last name."""
    ### BEGIN SOLUTION
    statement = "SELECT last_name, city FROM IDENTIFIER(:view) WHERE last_name = :name"
    return spark.sql(statement, args={"view": view, "name": name})
    ### END SOLUTION


# %% tags=["check"]
check.named(named)

# %% [markdown]
# ## SQL for analysts: windows, QUALIFY, lateral aliases
#
# Three features keep analysts' queries short. A **window** computes over related rows without collapsing them.
# `QUALIFY` filters by the result of a window (chapter 02). A **lateral alias** is used in the same `SELECT` that
# defines it: `euros` below. In `sum(sum(line_cents)) OVER`, the inner sum is that of a group, and the outer one adds
# up the groups of a month.

# %%
ask("""
    SELECT channel, month, CAST(sum(line_cents) / 100 AS DECIMAL(12, 2)) AS euros,
           round(euros / count(DISTINCT order_id), 2) AS average_order,
           round(sum(line_cents) / sum(sum(line_cents)) OVER (PARTITION BY month), 3)
               AS share
    FROM gold.fact_sales JOIN gold.dim_date USING (date_key)
    WHERE sold GROUP BY channel, month
    QUALIFY row_number() OVER (PARTITION BY channel ORDER BY share DESC) = 1
    ORDER BY share DESC
""")

# %% [markdown]
# Each channel appears once, with the month of its largest share: for the web 0.532, in October 2025. (Spark 4.2.0
# refuses a lateral alias inside a window of the `SELECT` list, with `LATERAL_COLUMN_ALIAS_IN_WINDOW`, so the share
# repeats the sum.) The money is a `DECIMAL`. Why?

# %%
ask("SELECT 0.1D + 0.2D = 0.3D AS as_double, 0.1BD + 0.2BD = 0.3BD AS as_decimal")

# %% [markdown]
# As DOUBLE, 0.1 + 0.2 is not 0.3, because binary fractions are rounded. As DECIMAL it is. So money is DECIMAL, or whole
# cents.
#
# ### PIVOT, pipe syntax, recursive queries, SQL functions
#
# `PIVOT` turns values into columns; the column that remains, `month`, becomes the group. The **pipe syntax** lists the
# steps in the order of execution: each `|>` works on the result of the line above.

# %%
ask("""
    FROM gold.fact_sales
    |> JOIN gold.dim_date USING (date_key)
    |> WHERE sold AND month >= '2025-10-01'
    |> SELECT month, channel, line_cents
    |> PIVOT (CAST(sum(line_cents) / 100 AS DECIMAL(12, 2))
              FOR channel IN ('web', 'app', 'store_tablet'))
    |> ORDER BY month
""")

# %% [markdown]
# The web sold for 130,071.38 euros in December.
#
# A **recursive** query builds rows from the rows before, here four Mondays. A **SQL function** gives a rule one name,
# in one place. (A `TEMPORARY` function belongs to this connection.)

# %%
cursor.execute("""
    CREATE TEMPORARY FUNCTION in_euros(cents BIGINT) RETURNS DECIMAL(12, 2)
    RETURN CAST(cents / 100 AS DECIMAL(12, 2))
""")
cursor.execute("""
    WITH RECURSIVE mondays(week) AS (
        SELECT DATE'2025-12-15' UNION ALL
        SELECT week + INTERVAL 7 DAYS FROM mondays WHERE week < '2026-01-05')
    SELECT week, in_euros(sum(line_cents))
    FROM mondays LEFT JOIN (SELECT week, line_cents FROM gold.fact_sales
                            JOIN gold.dim_date USING (date_key) WHERE sold) USING (week)
    GROUP BY week ORDER BY week
""")
cursor.fetchall()

# %% [markdown]
# The first `SELECT` gives the first row. The second one is repeated on the newest rows until it returns none. The week
# of 5 January has no sales yet, and it keeps its row, with NULL. So the filter `sold` stands *inside* the joined
# query: a `WHERE sold` after the left join would drop this week, and nobody would see that it is empty.

# %% tags=["setup"]
few_sales = spark.sql("""
    SELECT DATE(week) AS week, channel, cents FROM VALUES
        ('2025-07-07', 'web', 500L), ('2025-07-07', 'app', 300L),
        ('2025-07-14', 'web', 200L), ('2025-07-14', NULL, 100L)
        AS t(week, channel, cents)
""")

# %% [markdown] tags=["exercise"]
# ### Exercise 11.3: totals with ROLLUP
#
# `ROLLUP (week, channel)` computes three groupings at once: by week and channel, by week, and the total. `sales` is a
# Spark DataFrame with `week`, `channel` and `cents`. Write `with_totals(sales)`, which returns the sums of all three
# with exactly the columns `week`, `channel`, `level` and `cents`. Use `sales.rollup`, or SQL on a temporary view.
#
# `level` is what `grouping_id()` counts, a bit mask: 1 if `channel` is rolled up, plus 2 if `week` is. So it is 0 for
# week and channel, 1 for the total of a week, 3 for the total of all. A row with a NULL channel is not a total; it
# keeps level 0. Try `with_totals(few_sales)`: it has 7 rows.


# %% tags=["solution"]
def with_totals(sales):
    """Return the sums by week and channel, by week, and of all."""
    ### BEGIN SOLUTION
    level = F.grouping_id().cast("int").alias("level")
    sums = sales.rollup("week", "channel").agg(level, F.sum("cents").alias("cents"))
    return sums.select("week", "channel", "level", "cents")
    ### END SOLUTION


# %% tags=["check"]
check.totals(with_totals)

# %% [markdown]
# ## KPI consistency: one metric view, four interfaces
#
# Chapter 03 has written down what revenue is, in the metric view `gold.sales_metrics`. If the number on the page is
# not the number in the report, nobody believes either. So we compute it over each interface. First over the endpoint:

# %%
REVENUE = "SELECT MEASURE(revenue) FROM gold.sales_metrics"
over_sql = one(lambda: warehouse.connect("lena"), REVENUE)
over_sql

# %% [markdown]
# DuckDB knows no metric views, and our DataFrame query repeats the formula too. So these are copies of the definition,
# and we test that they agree with it. (The join brings the week, which we need below.)

# %%
sales = spark.table("gold.fact_sales").join(spark.table("gold.dim_date"), "date_key")
cents = F.sum("line_cents") / 100
with_frame = sales.where("sold").agg(cents.cast("decimal(12, 2)")).first()[0]

# %%
FORMULA = (
    "SELECT CAST(sum(line_cents) / 100 AS DECIMAL(12, 2)) FROM fact_sales WHERE sold"
)
with_duckdb = duckdb.sql(FORMULA).fetchall()[0][0]
over_sql == with_frame == with_duckdb

# %% [markdown]
# 1,157,420.86 euros, equal to the cent. (The fourth interface is the dashboard, below.) The grand total of exercise
# 11.3 must agree as well:

# %%
by_week = with_totals(
    sales.where("sold").selectExpr("week", "channel", "line_cents cents")
)
by_week.where("level = 3").selectExpr("CAST(cents / 100 AS DECIMAL(12, 2))").first()[0]

# %% [markdown]
# It does. Not every measure adds up like this: numbers of customers do not add up over channels (chapter 03), and
# averages do not either.
#
# ### Fan-out and DISTINCT: test the grain before you trust a sum
#
# Chapter 03 had a fan-out join. Here somebody has made one less visible. A report joins the visits of technicians, in
# `silver.maintenance`, to the orders of the same locker and month. It counts orders with `DISTINCT`, to be safe.

# %%
lockers = spark.sql("""
    SELECT order_id, locker_id, trunc(ordered_at, 'MONTH') AS month, total_cents
    FROM silver.orders
    WHERE locker_id IS NOT NULL
        AND coalesce(status, '') NOT IN ('cancelled', 'returned')
""")
month = F.trunc("at", "MONTH").alias("month")
visits = spark.table("silver.maintenance").select("locker_id", month)
report = (
    F.countDistinct("order_id").alias("orders"),
    F.sum("total_cents").alias("cents"),
)
lockers.agg(*report)

# %% [markdown]
# The true numbers are 14,738 orders and 49,669,265 cents. Which of the two changes after the left join with the visits,
# and does it rise or fall? Write down your answer.

# %% tags=["predict"]
lockers.join(visits, ["locker_id", "month"], "left").agg(*report)

# %% [markdown] given=["6.1"]
# 14,738 orders as before, and 52,722,277 cents, 6.1 % too much. A locker that was visited twice in a month counts each
# of its orders twice. The orders are right, so the report looks tested, and only the money is wrong. `DISTINCT` does
# not repair a fan-out: it hides it in one column. The fix brings the visits to the grain of the join first, one row
# per locker and month:

# %%
once = visits.distinct()
lockers.join(once, ["locker_id", "month"], "left").agg(*report)

# %% [markdown]
# 49,669,265 cents again. A test of the grain after the join shows the fault: there are two rows of one order.

# %% [markdown]
# ## Dashboard design: start from a decision
#
# Ask three questions: who reads the dashboard, when, and which decision follows? Our reader is Marc, who plans the
# month. They look at the revenue and the average order of the last month. If one is below its limit, they look at the
# channels and call an owner. So they need two numbers by month and channel. Each needs a definition, a unit, and the
# day up to which its data go.
#
# ### Tiles as SQL files with a contract
#
# A **tile** is one chart with its number on a dashboard. Each of our tiles is a SQL file. Its header is its
# **contract**: title, definition, unit, grain, and the columns that hold the numbers. Files have a history, are
# reviewed, and can be tested.

# %%
tiles = medallion.scratch() / "tiles"
tiles.mkdir(exist_ok=True)
_ = (tiles / "revenue.sql").write_text("""
-- title: Revenue by month
-- definition: Sum of the orders that are not cancelled or returned, by UTC day
-- unit: euros
-- grain: month, channel
-- number: revenue
SELECT month, channel, MEASURE(revenue) AS revenue
FROM gold.sales_metrics GROUP BY month, channel
""")

# %%
_ = (tiles / "average_order.sql").write_text("""
-- title: Average order by month
-- definition: Revenue divided by orders, without cancelled and returned ones
-- unit: euros
-- grain: month, channel
-- number: revenue, orders
SELECT month, channel, MEASURE(revenue) AS revenue, MEASURE(orders) AS orders
FROM gold.sales_metrics GROUP BY month, channel
""")

# %% [markdown]
# The second tile returns revenue and orders, not their average, which does not add up. Two names in `number` mean "the
# first divided by the second". The page adds up both over the rows that its filter keeps, and then divides. The
# numbers of orders add up here, although they are distinct counts, because each order has one month and one channel.


# %%
def tile_of(file):
    """Return the header of a tile's file as a dict, with its statement."""
    lines = file.read_text().splitlines()
    tile = dict(line[3:].split(": ", 1) for line in lines if line.startswith("-- "))
    lists = {name: tile[name].split(", ") for name in ("grain", "number")}
    return tile | lists | {"statement": "\n".join(lines)}


# %%
board_tiles = {file.stem: tile_of(file) for file in sorted(tiles.glob("*.sql"))}
for tile in board_tiles.values():
    tile["rows"] = ask(tile["statement"], login="dashboard").to_dict("records")
{name: len(tile["rows"]) for name, tile in board_tiles.items()}

# %% tags=["setup"]
some_tile = {"grain": ["week", "channel"], "number": ["cents"]}
some_rows = [
    {"week": "2025-07-07", "channel": "web", "cents": 500},
    {"week": "2025-07-14", "channel": "web", "cents": 300},
]

# %% [markdown] tags=["exercise"]
# ### Exercise 11.4: test a tile against the metric view
#
# Write `faults(tile, rows, total)`, which returns a list of what is wrong with the rows of a tile. Use only `grain` and
# `number` of the tile. The faults stand in the list in this order:
#
# - `"empty"`: `rows` has no row. Return only this.
# - `"columns"`: some row has missing or extra columns. Their order does not matter. Return only this.
# - `"grain"`: two rows have the same values in all columns of the grain. `None` is a value there.
# - `"null"`: some value in a column of `number` is `None`.
# - `"total"`: the sum of the first column of `number`, without `None`, is not exactly `total`.
#
# Try `faults(some_tile, some_rows, 800)`, which is `[]`, and then a total of `801`, which gives `["total"]`.


# %% tags=["solution"]
def faults(tile, rows, total):
    """Return what is wrong with the rows of a tile, by name."""
    ### BEGIN SOLUTION
    columns = {*tile["grain"], *tile["number"]}
    if not rows:
        return ["empty"]
    if any(set(row) != columns for row in rows):
        return ["columns"]
    keys = {tuple(row[name] for name in tile["grain"]) for row in rows}
    numbers = [row[name] for row in rows for name in tile["number"]]
    first = [row[tile["number"][0]] for row in rows]
    added = sum(value for value in first if value is not None)
    wrong = {"grain": len(keys) < len(rows), "null": None in numbers}
    wrong["total"] = added != total
    return [name for name, is_so in wrong.items() if is_so]
    ### END SOLUTION


# %% tags=["check"]
check.faults(faults)

# %%
{name: faults(tile, tile["rows"], over_sql) for name, tile in board_tiles.items()}

# %% [markdown]
# Both tiles are in order: 6 months × 3 channels, and the total of the metric view. In a project, this test runs before
# each publication. A fan-out leaves the number of rows of a tile as it is, and makes its sums too large. We simulate
# one by doubling the revenue. We also test a tile without rows.

# %%
doubled = [
    row | {"revenue": 2 * row["revenue"]} for row in board_tiles["revenue"]["rows"]
]
faults(board_tiles["revenue"], doubled, over_sql), faults(board_tiles["revenue"], [], 0)

# %% [markdown]
# Multiplied money does not pass. A tile without rows does not pass either, although the sum of no rows is 0, which
# equals the total.

# %% [markdown] tags=["exercise"]
# ### Exercise 11.5: an alert on a threshold and on silence
#
# Write `alert(value, limit, as_of, today, days)`, which returns the state of a number. `as_of` and `today` are of
# `datetime.date`. The state is `"silent"` in three cases:
#
# - `value` is `None` or NaN.
# - `as_of` is `None`.
# - `as_of` is more than `days` days before `today`.
#
# Otherwise it is `"alert"` if the value is below the limit, and `"ok"` if not. Try
# `alert(99, 100, date(2025, 12, 29), date(2025, 12, 30), 2)`, which is `"alert"`. With 27 December it is `"silent"`.


# %% tags=["solution"]
def alert(value, limit, as_of, today, days):
    """Return the state of a number: "ok", "alert" or "silent"."""
    ### BEGIN SOLUTION
    if value is None or value != value or as_of is None:
        return "silent"
    if (today - as_of).days > days:
        return "silent"
    return "alert" if value < limit else "ok"
    ### END SOLUTION


# %% tags=["check"]
check.alert(alert)

# %% [markdown]
# Silence is a state of its own. An alert that only compares is quiet when the pipeline has died, and that is when it
# is needed most. The time at which a page was *refreshed* says nothing here; what counts is the day of the data. We
# act as if today were 30 December 2025, so that the results do not change with the clock.

# %%
LAST_DAY = "SELECT max(day) FROM gold.fact_sales JOIN gold.dim_date USING (date_key)"
as_of = date.fromisoformat(one(lambda: warehouse.connect("dashboard"), LAST_DAY))
today = date(2025, 12, 30)
as_of


# %%
def value_of(tile, month):
    """Return a tile's number for a month: a sum, or a sum divided by a sum."""
    rows = [row for row in tile["rows"] if row["month"] == month]
    sums = [sum(row[name] for row in rows) for name in tile["number"]]
    if not rows:
        return None
    return sums[0] / sums[1] if len(sums) > 1 else sums[0]


# %%
revenue = value_of(board_tiles["revenue"], "2025-12-01")
revenue, [alert(revenue, limit, as_of, today, 2) for limit in (200_000, 300_000)]

# %% [markdown]
# December has brought 259,491.73 euros so far. (PyHive returns dates as strings, so we compare with one.) With a limit
# of 200,000 that is in order, and with 300,000 it is an alert. In production, scale the limit by the days so far.

# %% [markdown]
# ### A static page, dated, with its data
#
# `board.publish` writes one HTML file: the tiles with their rows, a filter, a bar chart and a table each. The file
# asks no server for anything, so it can be mailed, archived, and opened next year. Each tile gets a state of its own.

# %%
from medallion.lesson import board

LIMITS = {"revenue": 200_000, "average_order": 30}


def judged(tile, limit):
    """Return a tile with the day of its data, and the state of its December."""
    state = alert(value_of(tile, "2025-12-01"), limit, as_of, today, 2)
    why = f"below {limit:,}" if state == "alert" else "no new data"
    return tile | {"as_of": as_of, "fresh_days": 2, "state": state, "why": why}


# %%
for_all = [judged(tile, LIMITS[name]) for name, tile in board_tiles.items()]
page = medallion.home() / "published" / "month.html"
_ = board.publish(page, "How is the month?", for_all, on=today)

# %% [markdown]
# Open `lakehouse/published/month.html` in a browser. For each tile it shows the number of the last month, its state,
# its definition and its day, then the bars of six months, and below them the table. You will see this:
#
# - The filter is part of the address, `?channel=web`, so you can send a view to somebody.
# - A channel that does not exist shows *No data*, which is not a zero.
# - Today it says *Late data*: the page compares the day of its data with your clock.
# - The state is that of the page without a filter, and says so when you filter.
# - Everything works with the keyboard, and a screen reader announces a change. No information depends on a colour.
#
# The page is the fourth interface. Its cents are those of the metric view. (JSON has no DECIMAL, so each amount goes
# through a string.)

# %%
import json
import re
from decimal import Decimal

held = re.search(r'id="data">(.*?)</script>', page.read_text())[1]
shown = {tile["title"]: tile["rows"] for tile in json.loads(held)}
sum(Decimal(str(row[2])) for row in shown["Revenue by month"]) == over_sql

# %% [markdown]
# ### Row-level security on a static page: filter before publishing
#
# The file contains all rows, also those that a filter hides. So what a reader may not see must not be in the file. Two
# rules help. A tile may hold the columns that its contract names, and no others:

# %%
row = board_tiles["revenue"]["rows"][0] | {"customer_id": "C000001"}
leaky = judged(board_tiles["revenue"], 0) | {"rows": [row]}
refused(board.publish, page, "Leaky", [leaky], on=today)

# %% [markdown]
# And the rows are chosen *before* the file is written. This is the page for the owner of the web channel. Its states
# are those of this channel: without a sale of the web in December it would be silent.

# %%
web_only = [
    tile | {"rows": [row for row in tile["rows"] if row["channel"] == "web"]}
    for tile in board_tiles.values()
]
web_only = [judged(tile, limit) for tile, limit in zip(web_only, (30, 100_000))]
for_web = board.publish(page.with_name("web.html"), "Web", web_only, on=today)
channels = [f'"{name}"' for name in by_channel["channel"].sort_values()]
{
    file.name: [name for name in channels if name in file.read_text(encoding="utf-8")]
    for file in (page, for_web)
}

# %% [markdown]
# The page for everybody contains the rows of all three channels, even under `?channel=web`. The other one does not
# contain the rows of the two others at all.

# %% [markdown]
# ## Concurrent queries: timeout and cancel
#
# So far one client queried at a time. To see what happens with several, we need a query that takes a known time. This
# one sleeps for 50 milliseconds in each of its tasks; the last argument of `range` is the number of partitions, so of
# tasks. Our session has two cores, so 100 tasks per core take five seconds.


# %%
def waits(tasks):
    """Return a statement with this many tasks, which wait 50 milliseconds each."""
    return f"""SELECT count(s) FROM (
        SELECT reflect('java.lang.Thread', 'sleep', 50L) AS s
        FROM range(0, {tasks}, 1, {tasks}))"""


cores = spark.sparkContext.defaultParallelism
# %% [markdown]
# A **timeout** ends a query on the server. A connection sets the seconds for itself; an operator sets them for all. A
# client can also start a query without waiting for it (`async_=True`), and **cancel** it. (To fetch its rows, ask
# `cursor.poll()` until it has finished.)

# %%
cursor.execute("SET spark.sql.thriftServer.queryTimeout = 1")
try:
    timed_out = refused(lambda: (cursor.execute(waits(100 * cores)), cursor.fetchall()))
finally:
    cursor.execute("SET spark.sql.thriftServer.queryTimeout = 0")
timed_out

# %%
cursor.execute(waits(100 * cores), async_=True)
cursor.cancel()
refused(cursor.fetchall)

# %% [markdown]
# Both errors name the cause. What does the query history say of the four statements?

# %%
warehouse.history().query("login == 'lena'")["state"].tail(4).tolist()

# %% [markdown]
# The two `SET` statements finished, one query timed out, and one was cancelled.
#
# ### FIFO and FAIR: a small query behind a long one
#
# Spark gives its cores to the tasks of jobs. With **FIFO**, the default, the older job goes first. With
# `spark.scheduler.mode = FAIR`, which our session has, jobs stand in **pools**, and the pools take turns. A connection
# that names no pool uses the pool `default`. (A file, `spark.scheduler.allocation.file`, makes ours FIFO. Without one,
# Spark 4.2 makes `default` FAIR. A pool that a connection creates by naming it is FIFO inside.)
#
# We run a small query beside a long one, and count how many tasks of the long one are left when the small one has its
# answer.


# %%
def left(tasks):
    """Return how many tasks of the running stage with `tasks` tasks are not done."""
    tracker = spark.sparkContext.statusTracker()
    stages = [tracker.getStageInfo(stage) for stage in tracker.getActiveStageIds()]
    return sum(tasks - s.numCompletedTasks for s in stages if s and s.numTasks == tasks)


# %%
import time


def overtakes(pool, tasks=60 * cores):
    """Return whether a small query ends with a tenth of a long one's tasks left."""
    with warehouse.connect("long") as first, warehouse.connect("short") as second:
        long, short = first.cursor(), second.cursor()
        short.execute(f"SET spark.sql.thriftserver.scheduler.pool = {pool}")
        long.execute(waits(tasks), async_=True)
        give_up = time.monotonic() + 30
        while not 0 < left(tasks) < tasks and time.monotonic() < give_up:
            time.sleep(0.02)
        short.execute(waits(2))
        many = left(tasks) > tasks // 10
        long.cancel()
    return many


# %% [markdown]
# The long query is in the pool `default`. We run the small one twice: in `default`, and in a pool of its own. In which
# run is it answered while the long one still has much to do? Write down your answer.

# %% tags=["predict"]
{pool: overtakes(pool) for pool in ("default", "dashboard")}

# %% [markdown]
# In the same pool the small query was answered only when at most a tenth of the long one's tasks was left (`False`).
# With a pool of its own it was answered while more than a tenth was left (`True`). The pools take turns at the *end
# of a task*, because Spark interrupts no task for another. Two endless tasks on two cores block every pool, so split
# long work into many tasks.
#
# ### p50 and p95 at 1, 4 and 8 clients
#
# How long does a query take when many clients query at once? We look at the median, **p50**, and at **p95**, the time
# that one query in twenty exceeds. An average hides these slow queries. (Ours reads no file, so we measure the server
# and not the disk.)

# %%
from concurrent.futures import ThreadPoolExecutor

QUERY = "SELECT id FROM range(100)"


def client(queries):
    """Run this many queries one after the other; return the seconds of each."""
    seconds = []
    with warehouse.connect("client") as connection, connection.cursor() as cursor:
        for _ in range(queries):
            begins = time.perf_counter()
            cursor.execute(QUERY)
            cursor.fetchall()
            seconds.append(time.perf_counter() - begins)
    return seconds


# %%
def load(clients, queries=16):
    """Return the seconds of each of the queries of some clients at once."""
    with ThreadPoolExecutor(clients) as at_once:
        each = at_once.map(client, [queries // clients] * clients)
        return [seconds for one_client in each for seconds in one_client]


# %% costly="it runs 112 queries, in two rounds"
_ = load(1)  # the first queries warm Spark up, and are not counted
rows = []
for round_ in (1, 2):
    for clients in (1, 4, 8):
        p50, p95 = pd.Series(load(clients)).quantile([0.5, 0.95])
        rows.append({"clients": clients, "round": round_, "p50": p50, "p95": p95})
measured = pd.DataFrame(rows)

# %% [markdown]
# The difference between the two rounds is chance. A difference between numbers of clients counts only if it is larger.
# (With 16 queries a round, p95 is close to the slowest; a real measurement runs hundreds.)

# %%
import plotly.express as px

from medallion.lesson import charts

one_client = measured.query("clients == 1")["p50"].mean()
drawn = measured.melt(["clients", "round"], ["p50", "p95"], "quantile", "seconds")
drawn["times as long"] = drawn["seconds"] / one_client
axes = {"x": "clients", "y": "times as long", "color": "quantile"}
figure = px.scatter(drawn, **axes, title="Time of a query, by clients at once")
_ = figure.update_xaxes(type="category")

# %% tags=["nbval-ignore-output"]
charts.show(
    figure,
    alt="Scatter chart of the time of a query, as a multiple of the median with "
    "one client: p50 and p95 of two rounds at 1, 4 and 8 clients.",
)

# %% tags=["nbval-ignore-output"]
p50 = measured.groupby("clients")["p50"]
slower = p50.mean()[8] - p50.mean()[1]
chance = (p50.max() - p50.min()).max()
(slower > 2 * chance).item()

# %% [markdown]
# The cell compares the medians of 8 clients and of one. It is `True` if their difference is more than twice the
# difference of the rounds. `False` means that chance is too large to call one slower, as on a machine that is busy
# with something else: then measure again. All clients share two cores. More cores help, and so do fewer queries: a
# published page queries once, however many people read it.

# %% [markdown] tags=["exercise"]
# ### Exercise 11.6: keep a dashboard quick beside a long query
#
# Write `refresh(connect, tiles, seconds)`. `tiles` is a dict of statements by name, and `connect` returns a new
# connection. Ask all tiles at the same time, each over a connection of its own. Return a dict: for each tile its rows,
# as `fetchall` returns them. For a tile that fails or runs longer than `seconds`, a whole number, it is `None`.
#
# - A long query in the pool `default` must not hold the tiles up, and a slow tile must not hold up another.
# - A tile that takes too long must not run on at the server.
# - A tile that fails must not take the others with it. A tile without rows has not failed: it is `[]`.
#
# The two settings are spelled differently: `thriftserver.scheduler.pool`, `thriftServer.queryTimeout`. Python's
# `concurrent.futures` has a `ThreadPoolExecutor`. Try
# `refresh(lambda: warehouse.connect("me"), {"a": "SELECT 1", "b": "SELEC"}, 5)`: `b` is wrong on purpose, and the
# answer is `{"a": [(1,)], "b": None}`.


# %% tags=["solution"]
def refresh(connect, tiles, seconds):
    """Return the rows of each tile, or None for one that fails or takes too long."""
    ### BEGIN SOLUTION
    from concurrent.futures import ThreadPoolExecutor

    def asked(number, statement):
        try:
            with connect() as connection, connection.cursor() as cursor:
                cursor.execute(f"SET spark.sql.thriftserver.scheduler.pool = t{number}")
                cursor.execute(f"SET spark.sql.thriftServer.queryTimeout = {seconds}")
                cursor.execute(statement)
                return cursor.fetchall()
        except Exception:
            return None

    with ThreadPoolExecutor(len(tiles) or 1) as at_once:
        rows = at_once.map(asked, range(len(tiles)), tiles.values())
        return dict(zip(tiles, rows))
    ### END SOLUTION


# %% tags=["check"]
check.refresh(refresh)

# %% [markdown]
# ## Caching: one cache per server, stale for all
#
# A cache returns the data of the time when it was filled. Lena caches a table. Whose queries use it?

# %%
cursor.execute("CACHE TABLE scratch.people")
with marc.cursor() as asked:
    asked.execute("EXPLAIN SELECT count(city) FROM scratch.people")
    plan = asked.fetchall()[0][0]
"In-memory table scratch.people" in plan

# %% [markdown]
# Marc's too: Spark's cache belongs to the server, and knows neither connections nor logins. (What that means for rows
# that only one login may see is for a later chapter.) A write through this Spark refreshes it. Another engine can
# write as well, here `deltalake`, into the folder of `scratch.people`:

# %%
from deltalake import write_deltalake

place = str(medallion.scratch() / "people")
more = pd.DataFrame({"last_name": ["Novak"], "city": ["Hamm"]})
write_deltalake(place, more, mode="append")
people = DeltaTable(place).to_pyarrow_dataset()

# %%
COUNT = "SELECT count(city) FROM scratch.people"
{
    "DuckDB": duckdb.sql("SELECT count(city) FROM people").fetchall()[0][0],
    "endpoint": one(lambda: warehouse.connect("marc"), COUNT),
}

# %% [markdown]
# DuckDB reads the files and counts 4. Marc gets 3, and so does everybody at the endpoint, until somebody refreshes.
# (The query counts a column, because Delta can answer `count(*)` from its log.)

# %%
cursor.execute("REFRESH TABLE scratch.people")
refreshed = one(lambda: warehouse.connect("marc"), COUNT)
cursor.execute("UNCACHE TABLE scratch.people")
refreshed

# %% [markdown]
# For each cache, know what fills it, who shares it, and what empties it. A browser and a BI tool have caches of their
# own, and a published page is one too. That is why the page carries the day of its data.

# %% [markdown]
# ## Query history: who asked what
#
# The endpoint keeps the last statements since its start, up to 10,000: login, statement, seconds, rows, and how each
# ended. A refused login is not among them. We leave out `SET`, the `USE` that PyHive sends, the checks of the exercises
# (`check`) and the long query. `client` and `short` are the logins of our measurements.

# %%
history = warehouse.history()
asked_by_us = history[~history["statement"].str.startswith(("USE", "SET"))]
asked_by_us = asked_by_us[~asked_by_us["login"].isin(["check", "long"])]
states = asked_by_us.groupby(["login", "state"]).size().unstack(fill_value=0)
states

# %% [markdown]
# Lena has one statement that was cancelled, one that timed out, and two that failed: a table that does not exist, and
# the quote of O'Brien. And somebody has logged in as the board.
#
# Tune the slowest queries first. These are the five slowest:

# %% tags=["nbval-ignore-output"]
dearest = asked_by_us.nlargest(5, "seconds")
short = dearest["statement"].str.split().str.join(" ").str[:60]
dearest.assign(statement=short)[["login", "state", "statement"]].reset_index(drop=True)

# %% [markdown]
# If the same statement runs a thousand times, sort by its total time. As a Delta table, written every hour, the history
# also records reads over time; a Delta log records only writes. It contains the values of parameters too, such as
# `O\'Brien`, so decide who may read it.

# %% [markdown]
# ## Failure lab: `BEGIN … END` and atomicity
#
# Someone wants to replace a price in one step, and writes `DELETE` and `INSERT` between `BEGIN` and `END`. The script
# fails in the middle.

# %%
_ = spark.sql(
    "CREATE OR REPLACE TABLE scratch.prices AS SELECT 'P1' AS id, 500 AS cents"
)
SCRIPT = """
BEGIN
    DELETE FROM scratch.prices WHERE id = 'P1';
    SELECT raise_error('it stops here');
    INSERT INTO scratch.prices VALUES ('P1', 450);
END"""
refused(cursor.execute, SCRIPT)

# %% [markdown]
# How many rows does the table have now?

# %% tags=["predict"]
spark.table("scratch.prices").count()

# %% [markdown]
# The price is gone. `BEGIN … END` is a script, not a **transaction**: each statement commits on its own, and an error
# does not roll back earlier ones. (Seen with Spark 4.2.0 and Delta 4.4.0.) A commit is **atomic**, all or nothing, so
# the fix is *one statement*. We put the row back, and try a `MERGE` that fails. (`{cents}` is filled in by us, not by
# a reader of a page.)

# %%
_ = spark.sql("INSERT INTO scratch.prices VALUES ('P1', 500)")
MERGE = """
    MERGE INTO scratch.prices AS old USING (SELECT 'P1' AS id, {cents} AS cents) AS new
    ON old.id = new.id
    WHEN MATCHED THEN UPDATE SET cents = new.cents
    WHEN NOT MATCHED THEN INSERT *
"""

# %%
said = refused(cursor.execute, MERGE.format(cents="raise_error('it stops here')"))
said, spark.table("scratch.prices").first().cents

# %%
cursor.execute(MERGE.format(cents=450))
spark.table("scratch.prices").first().cents

# %% [markdown]
# The first `MERGE` failed, and the old price is still there. (A write that fails may leave files that no commit
# names, so readers do not see them: chapter 00.) The second one replaced the price. If several tables have to change
# together, write to staging tables, check them, and publish last, as in "Write, audit, publish" (chapter 03).

# %% [markdown]
# ## Failure lab: an alert on no rows stays green
#
# A status light is green unless a channel sold less than its limit. It has been green for weeks. Then somebody renames
# a channel in the source, and nobody changes the filter of the query. We do not rename the source here. We ask for a
# name that does not exist, `Web`.

# %%
WATCHED = """
    SELECT month, MEASURE(revenue) AS revenue FROM gold.sales_metrics
    WHERE channel = %(channel)s AND month = DATE'2025-12-01' GROUP BY month
"""


def light(rows):
    """Return "red" if any row is below the limit, else "green"."""
    return "red" if any(row["revenue"] < 10_000 for row in rows) else "green"


# %%
found = {
    name: ask(WATCHED, {"channel": name}).to_dict("records") for name in ("web", "Web")
}
{name: (len(rows), light(rows)) for name, rows in found.items()}

# %% [markdown]
# If there is no row, no row is below the limit. In Python `any([])` is false and `all([])` is true; a query for bad
# rows returns no row when there are no data. So the light is green. The functions of exercises 11.4 and 11.5 detect it:

# %%
values = {name: rows[0]["revenue"] if rows else None for name, rows in found.items()}
{name: alert(value, 10_000, as_of, today, 2) for name, value in values.items()}

# %%
watched = {"grain": ["month"], "number": ["revenue"]}
faults(watched, found["Web"], values["web"])

# %% [markdown]
# A monitor needs a row for each thing that it watches, and silence has to be a state. The page has one as well: a tile
# without rows says *No data*.
#
# ### Stop the endpoint
#
# We stop the endpoint. A client that connects then gets this error (the port differs each time, so we hide it):

# %%
marc.close()
lena.close()
warehouse.stop()
port = login_settings["port"]
refused(warehouse.connect, "lena", port=port).replace(str(port), "…")

# %% [markdown]
# ## Check yourself

# %%
from medallion.lesson import quiz

quiz.show("11")

# %% [markdown]
# ## What we know now
#
# - A SQL endpoint serves the tables to programs without Spark. A login name proves nothing; a key proves access to the
#   key file. Each connection is a session of its own.
# - Over DB-API and JDBC for Hive, the driver writes parameters into the string. `spark.sql` and `EXECUTE IMMEDIATE`
#   bind them with `constantsOnly`; without it, Spark 4.1 and later write literals too. A DataFrame condition always
#   binds.
# - A metric view holds the one definition of a KPI. Where an interface repeats the formula, a test compares the cents.
#   `DISTINCT` hides a fan-out in one column and leaves it in the money.
# - A tile is a SQL file with a contract, and a test. Beside each number stand its definition and the day of its data.
# - Empty is not zero, and silence is a state. A refresh time is not the time of the data.
# - Jobs of one pool wait for each other; pools take turns between tasks. Timeout and cancel work on the server.
# - A cache belongs to the server, and is stale for everybody at once.
# - A script is not a transaction; one statement is one commit.
#
# **On Databricks** SQL warehouses are the endpoint, with single sign-on, TLS, and authenticated logins. Its driver,
# `databricks-sql-connector`, binds parameters on the server since version 3. Query history is a system table, and
# dashboards are AI/BI dashboards, which export as JSON files.
