/* The last hop of the chain: `java Hop.java PORT`. The JDK's own server with a pool of platform threads. */
import com.sun.net.httpserver.HttpServer;
import java.io.PrintStream;
import java.net.InetSocketAddress;
import java.util.concurrent.Executors;

public class Hop {
	/* One write a line: System.out would make two of it. */
	static void log(String line) {
		byte[] bytes = (line + "\n").getBytes();
		System.out.write(bytes, 0, bytes.length);
		System.out.flush();
	}

	public static void main(String[] args) throws Exception {
		System.setOut(new PrintStream(new java.io.FileOutputStream(java.io.FileDescriptor.out), true));
		HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", Integer.parseInt(args[0])), 256);
		server.setExecutor(Executors.newFixedThreadPool(16));
		server.createContext("/", exchange -> {
			String truth = exchange.getRequestHeaders().getFirst("X-Truth");
			log("hop=java begins truth=" + truth);
			byte[] body = ("hello " + exchange.getRequestURI().getPath() + "\n").getBytes();
			log("hop=java answers truth=" + truth);
			exchange.sendResponseHeaders(200, body.length);
			exchange.getResponseBody().write(body);
			exchange.close();
		});
		server.start();
		for (;;) {
			Thread.sleep(5);
			log("hop=java housekeeping truth=none");
		}
	}
}
