package medallion;

import java.io.IOException;
import java.net.URI;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.attribute.PosixFileAttributeView;
import java.nio.file.attribute.PosixFilePermissions;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.DelegateToFileSystem;
import org.apache.hadoop.fs.FileAlreadyExistsException;
import org.apache.hadoop.fs.FileStatus;
import org.apache.hadoop.fs.LocalFileSystem;
import org.apache.hadoop.fs.Options;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.fs.RawLocalFileSystem;
import org.apache.hadoop.fs.permission.FsPermission;

/**
 * Hadoop's file system for `file:`, which asks Java what Hadoop 3.5 starts `readlink` and `chmod` for, without
 * Hadoop's `.crc` files. A commit of Delta is a rename that must fail where its version is there already: the
 * system refuses to make a second link of a name, whichever process asks.
 */
public class LocalFiles extends LocalFileSystem {
  public LocalFiles() {
    super(new Raw());
    this.setVerifyChecksum(false);
    this.setWriteChecksum(false);
  }

  /** The same for Hadoop's other interface to files, FileContext, through which Delta writes its log. */
  public static class Context extends DelegateToFileSystem {
    public Context(URI uri, Configuration configuration) throws Exception {
      super(uri, new Raw(), configuration, "file", false);
    }

    public int getUriDefaultPort() {
      return -1;
    }
  }

  public static class Raw extends RawLocalFileSystem {
    public FileStatus getFileLinkStatus(Path path) throws IOException {
      boolean link = Files.isSymbolicLink(this.pathToFile(path).toPath());
      return link ? super.getFileLinkStatus(path) : this.getFileStatus(path);
    }

    public void setPermission(Path path, FsPermission permission) throws IOException {
      PosixFileAttributeView view = (PosixFileAttributeView) Files.getFileAttributeView(
          this.pathToFile(path).toPath(), PosixFileAttributeView.class, new LinkOption[0]);
      if (view == null || permission.getStickyBit()) {
        super.setPermission(path, permission);
        return;
      }
      String symbols = permission.getUserAction().SYMBOL + permission.getGroupAction().SYMBOL
          + permission.getOtherAction().SYMBOL;
      view.setPermissions(PosixFilePermissions.fromString(symbols));
    }

    protected void rename(Path from, Path to, Options.Rename[] options) throws IOException {
      java.nio.file.Path source = this.pathToFile(from).toPath();
      java.nio.file.Path target = this.pathToFile(to).toPath();
      boolean overwrite = false;
      for (int i = 0; i < options.length; i++) {
        overwrite |= options[i] == Options.Rename.OVERWRITE;
      }
      if (overwrite || !Files.isRegularFile(source, new LinkOption[] {LinkOption.NOFOLLOW_LINKS})) {
        super.rename(from, to, options);
        return;
      }
      try {
        Files.createLink(target, source);
      } catch (java.nio.file.FileAlreadyExistsException there) {
        throw new FileAlreadyExistsException(to + " is there already");
      } catch (UnsupportedOperationException noLinks) {
        super.rename(from, to, options);
        return;
      } catch (FileSystemException noLinks) { // a disk that has none, such as exFAT
        super.rename(from, to, options);
        return;
      }
      Files.delete(source);
    }
  }
}
