package medallion;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.Map;
import org.apache.spark.scheduler.SparkListener;
import org.apache.spark.scheduler.SparkListenerEvent;
import org.apache.spark.sql.hive.thriftserver.ui.SparkListenerThriftServerOperationCanceled;
import org.apache.spark.sql.hive.thriftserver.ui.SparkListenerThriftServerOperationClosed;
import org.apache.spark.sql.hive.thriftserver.ui.SparkListenerThriftServerOperationError;
import org.apache.spark.sql.hive.thriftserver.ui.SparkListenerThriftServerOperationFinish;
import org.apache.spark.sql.hive.thriftserver.ui.SparkListenerThriftServerOperationStart;
import org.apache.spark.sql.hive.thriftserver.ui.SparkListenerThriftServerOperationTimeout;

/**
 * Keeps what the SQL endpoint was asked, and how that ended. Spark's own list, on its web page, forgets the end:
 * a statement that failed and one that was cancelled are "closed" there.
 */
public class SqlHistory extends SparkListener {
  private static final int KEPT = 10000;
  private final Map statements = new LinkedHashMap();

  public synchronized void onOtherEvent(SparkListenerEvent event) {
    if (event instanceof SparkListenerThriftServerOperationStart) {
      SparkListenerThriftServerOperationStart start = (SparkListenerThriftServerOperationStart) event;
      Map statement = new HashMap();
      statement.put("id", start.id());
      statement.put("login", start.userName());
      statement.put("statement", start.statement());
      statement.put("started", Long.valueOf(start.startTime()));
      statement.put("state", "running");
      statements.put(start.id(), statement);
      if (statements.size() > KEPT) {
        Iterator oldest = statements.keySet().iterator();
        oldest.next();
        oldest.remove();
      }
    } else if (event instanceof SparkListenerThriftServerOperationFinish) {
      SparkListenerThriftServerOperationFinish end = (SparkListenerThriftServerOperationFinish) event;
      this.ended(end.id(), "finished", end.finishTime());
    } else if (event instanceof SparkListenerThriftServerOperationError) {
      SparkListenerThriftServerOperationError end = (SparkListenerThriftServerOperationError) event;
      this.ended(end.id(), "failed", end.finishTime());
    } else if (event instanceof SparkListenerThriftServerOperationCanceled) {
      SparkListenerThriftServerOperationCanceled end = (SparkListenerThriftServerOperationCanceled) event;
      this.ended(end.id(), "cancelled", end.finishTime());
    } else if (event instanceof SparkListenerThriftServerOperationTimeout) {
      SparkListenerThriftServerOperationTimeout end = (SparkListenerThriftServerOperationTimeout) event;
      this.ended(end.id(), "timed out", end.finishTime());
    } else if (event instanceof SparkListenerThriftServerOperationClosed) {
      // Each statement is closed in the end; one that still ran has lost its client
      SparkListenerThriftServerOperationClosed end = (SparkListenerThriftServerOperationClosed) event;
      this.ended(end.id(), "cancelled", end.closeTime());
    }
  }

  private void ended(String id, String state, long time) {
    Map statement = (Map) statements.get(id);
    if (statement != null && "running".equals(statement.get("state"))) {
      statement.put("state", state);
      statement.put("ended", Long.valueOf(time));
    }
  }

  /** Returns the statements as JSON, oldest first. */
  public synchronized String json() throws JsonProcessingException {
    return new ObjectMapper().writeValueAsString(new ArrayList(statements.values()));
  }
}
