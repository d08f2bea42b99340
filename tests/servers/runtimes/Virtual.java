import com.sun.net.httpserver.HttpServer;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.security.MessageDigest;
import java.util.HexFormat;
import java.util.concurrent.Executors;
import java.util.concurrent.ThreadLocalRandom;

/** A service with a virtual thread for each request; besides, virtual threads in the background. Each line tells its class and, as the
 * ground truth of a test, the first 12 hex digits of the SHA-256 of its request's id. Argument: the port. */
public class Virtual {
	private static final FileOutputStream out = new FileOutputStream(FileDescriptor.out);

	private static void say(String kind, String gt) throws Exception {
		out.write(("class=" + kind + " gt=" + gt + "\n").getBytes());
	}

	private static void work(com.sun.net.httpserver.HttpExchange exchange) {
		try (exchange) {
			String id = exchange.getRequestHeaders().getFirst("X-Request-ID");
			byte[] hash = MessageDigest.getInstance("SHA-256").digest(id.getBytes());
			String gt = HexFormat.of().formatHex(hash, 0, 6);
			for (int i = 0; i < 3; i++) {
				say("direct", gt);
				Thread.sleep(ThreadLocalRandom.current().nextInt(5));
			}
			exchange.sendResponseHeaders(200, 3);
			exchange.getResponseBody().write("ok\n".getBytes());
		} catch (Exception e) {
			throw new RuntimeException(e);
		}
	}

	public static void main(String[] args) throws Exception {
		HttpServer server = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), Integer.parseInt(args[0])), 256);
		for (int i = 0; i < 4; i++) {
			Thread.ofVirtual().start(() -> {
				try {
					for (;;) {
						Thread.sleep(10);
						say("background", "-");
					}
				} catch (Exception e) {
					throw new RuntimeException(e);
				}
			});
		}
		server.setExecutor(Executors.newVirtualThreadPerTaskExecutor());
		server.createContext("/", Virtual::work);
		server.start();
	}
}
