package medallion;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Paths;
import java.security.MessageDigest;
import javax.security.sasl.AuthenticationException;
import org.apache.hive.service.auth.PasswdAuthenticationProvider;

/**
 * Lets into the SQL endpoint whoever has its key, which is in a file of this user. It proves that: "may read
 * that file". The login is only said.
 */
public class SqlKey implements PasswdAuthenticationProvider {
  public static final String FILE = "medallion.sql.key";

  public void Authenticate(String login, String key) throws AuthenticationException {
    byte[] right;
    try {
      right = Files.readAllBytes(Paths.get(System.getProperty(FILE), new String[0]));
    } catch (IOException unreadable) {
      throw new AuthenticationException("The key of this endpoint cannot be read", unreadable);
    }
    byte[] said = key == null ? new byte[0] : key.getBytes(StandardCharsets.UTF_8);
    // It takes as long for a key that begins well, so nobody finds it letter by letter
    if (right.length == 0 || !MessageDigest.isEqual(said, right)) {
      throw new AuthenticationException("This is not the key of this endpoint");
    }
  }
}
