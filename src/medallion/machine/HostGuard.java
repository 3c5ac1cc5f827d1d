package medallion;

import java.io.IOException;
import jakarta.servlet.Filter;
import jakarta.servlet.FilterChain;
import jakarta.servlet.ServletException;
import jakarta.servlet.ServletRequest;
import jakarta.servlet.ServletResponse;
import jakarta.servlet.http.HttpServletResponse;

/**
 * Has Spark's web pages answer only under the names of this machine. Under another name, another site's page
 * could have this machine's browser read them in its own name.
 */
public class HostGuard implements Filter {
  public void doFilter(ServletRequest request, ServletResponse response, FilterChain chain)
      throws IOException, ServletException {
    String host = request.getServerName();
    if ("127.0.0.1".equals(host) || "localhost".equals(host)) {
      chain.doFilter(request, response);
    } else {
      ((HttpServletResponse) response).sendError(421, "This page is there for 127.0.0.1 and localhost only");
    }
  }
}
