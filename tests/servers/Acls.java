import java.io.FileInputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Properties;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.common.acl.AccessControlEntry;
import org.apache.kafka.common.acl.AclBinding;
import org.apache.kafka.common.acl.AclOperation;
import org.apache.kafka.common.acl.AclPermissionType;
import org.apache.kafka.common.resource.PatternType;
import org.apache.kafka.common.resource.ResourcePattern;
import org.apache.kafka.common.resource.ResourceType;

/**
 * Creates the ACLs of a file in one call: `Acls CLIENT.properties FILE`.
 * A line is: USER OPERATION[,OPERATION...] RESOURCE-TYPE NAME, where a NAME that ends in * is a prefix.
 */
public class Acls {
    public static void main(String[] args) throws Exception {
        Properties client = new Properties();
        try (FileInputStream in = new FileInputStream(args[0])) {
            client.load(in);
        }
        List<AclBinding> bindings = new ArrayList<>();
        for (String line : Files.readAllLines(Path.of(args[1]))) {
            String[] word = line.replaceFirst("#.*", "").trim().split("\\s+");
            if (word.length == 4) {
                bindings.addAll(bindings(word));
            } else if (!word[0].isEmpty()) {
                throw new IllegalArgumentException("not USER OPERATIONS TYPE NAME: " + line);
            }
        }
        try (Admin admin = Admin.create(client)) {
            admin.createAcls(bindings).all().get();
        }
    }

    private static List<AclBinding> bindings(String[] word) {
        boolean prefix = word[3].endsWith("*");
        String name = prefix ? word[3].substring(0, word[3].length() - 1) : word[3];
        ResourcePattern resource = new ResourcePattern(
                ResourceType.fromString(word[2]), name, prefix ? PatternType.PREFIXED : PatternType.LITERAL);
        return Arrays.stream(word[1].split(","))
                .map(op -> new AclBinding(resource, new AccessControlEntry(
                        "User:" + word[0], "*", AclOperation.fromString(op), AclPermissionType.ALLOW)))
                .toList();
    }
}
